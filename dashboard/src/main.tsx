import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import "@mantine/spotlight/styles.css";
import "./app.css";
import "./govern.css";

import { createTheme, localStorageColorSchemeManager, MantineProvider } from "@mantine/core";
import { notifications, Notifications } from "@mantine/notifications";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { setNonce } from "get-nonce";
import { Activity, useEffect, useLayoutEffect, useState } from "react";
import { createRoot } from "react-dom/client";

import { ask, comeBack, useSession } from "./api/auth";
import { Problem } from "./api/client";
import { follow } from "./api/events";
import { Waiting } from "./parts/basics";
import { Changes } from "./parts/change";
import { dropDrafts } from "./parts/drafts";
import { SignIn } from "./pages/sign-in";
import { router } from "./routes";

// The server's policy lets style elements in that carry this answer's nonce.
const nonce = document.querySelector<HTMLMetaElement>("meta[property=csp-nonce]")?.nonce ?? "";
setNonce(nonce);

const theme = createTheme({
  primaryColor: "indigo", primaryShade: 9, defaultRadius: "sm", cursorType: "pointer",
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
  fontSizes: { xs: "12px", sm: "13px", md: "14px", lg: "16px", xl: "18px" },
  components: {
    // What closes is gone at once: pages that fall asleep while it fades would keep an invisible pane before them.
    Modal: { defaultProps: { transitionProps: { duration: 0 } } }, Menu: { defaultProps: { transitionProps: { duration: 0 } } },
    Tooltip: { defaultProps: { withArrow: true, openDelay: 200, multiline: true, maw: 320 } },
    Button: { defaultProps: { size: "xs" } }, Notification: { defaultProps: { closeButtonProps: { "aria-label": "Dismiss" } } },
    TextInput: { defaultProps: { size: "xs" } }, NativeSelect: { defaultProps: { size: "xs" } }, NumberInput: { defaultProps: { size: "xs" } },
    Textarea: { defaultProps: { size: "xs" } }, TagsInput: { defaultProps: { size: "xs" } }, PasswordInput: { defaultProps: { size: "xs" } }, Checkbox: { defaultProps: { size: "xs" } },
    Switch: { defaultProps: { size: "xs" } }, SegmentedControl: { defaultProps: { size: "xs" } },
  },
});

const remember = () => new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 2000, refetchOnWindowFocus: true, networkMode: "always", // the server may be near where the net is not
      retry: (failures, error) => failures < 2 && !(error instanceof Problem && error.status < 500),
    },
  },
});

// App shows the pages to whoever is in. When the server ends a session, they
// sleep behind the sign-in, with all that was written on them, until the same
// person is back; for anybody else they begin anew.
function App() {
  const session = useSession();
  const whose = session.state === "in" ? session.user ?? "" : session.was;
  useEffect(() => {
    if (session.state === "asking") void ask();
  }, [session.state]);
  useLayoutEffect(() => () => {
    dropDrafts();
    notifications.clean();
  }, [whose]);
  return (
    <>
      {session.state === "asking" && <Waiting />}
      {session.state === "out" && <SignIn />}
      {whose !== undefined && <Activity key={whose} mode={session.state === "in" ? "visible" : "hidden"}><Pages /></Activity>}
    </>
  );
}

function Pages() {
  const [client] = useState(remember);
  useEffect(() => {
    comeBack();
    void client.invalidateQueries();
    const end = new AbortController();
    void follow(client, end.signal);
    return () => end.abort();
  }, [client]);
  return (
    <QueryClientProvider client={client}>
      <Notifications position="bottom-left" limit={4} />
      <Changes><RouterProvider router={router} /></Changes>
    </QueryClientProvider>
  );
}

createRoot(document.getElementById("root")!).render(
  <MantineProvider theme={theme} defaultColorScheme="auto" colorSchemeManager={localStorageColorSchemeManager({ key: "flyball.colours" })} getStyleNonce={() => nonce}>
    <App />
  </MantineProvider>,
);
