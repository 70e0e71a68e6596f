import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import "@mantine/spotlight/styles.css";
import "./app.css";
import "./govern.css";

import { createTheme, localStorageColorSchemeManager, MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { setNonce } from "get-nonce";
import { useEffect } from "react";
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
    Tooltip: { defaultProps: { withArrow: true, openDelay: 200, multiline: true, maw: 320 } },
    Button: { defaultProps: { size: "xs" } }, Notification: { defaultProps: { closeButtonProps: { "aria-label": "Dismiss" } } },
    TextInput: { defaultProps: { size: "xs" } }, NativeSelect: { defaultProps: { size: "xs" } }, NumberInput: { defaultProps: { size: "xs" } },
    Textarea: { defaultProps: { size: "xs" } }, TagsInput: { defaultProps: { size: "xs" } }, PasswordInput: { defaultProps: { size: "xs" } }, Checkbox: { defaultProps: { size: "xs" } },
    Switch: { defaultProps: { size: "xs" } }, SegmentedControl: { defaultProps: { size: "xs" } },
  },
});

const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 2000, refetchOnWindowFocus: true,
      retry: (failures, error) => failures < 2 && !(error instanceof Problem && error.status < 500),
    },
  },
});

function App() {
  const session = useSession();
  useEffect(() => {
    if (session.state === "asking") void ask();
    if (session.state === "out") {
      client.clear();
      dropDrafts();
    }
    if (session.state !== "in") return;
    comeBack();
    const end = new AbortController();
    void follow(client, end.signal);
    return () => end.abort();
  }, [session.state]);
  if (session.state === "asking") return <Waiting />;
  if (session.state === "out") return <SignIn />;
  return <Changes><RouterProvider router={router} /></Changes>;
}

createRoot(document.getElementById("root")!).render(
  <MantineProvider theme={theme} defaultColorScheme="auto" colorSchemeManager={localStorageColorSchemeManager({ key: "flyball.colours" })} getStyleNonce={() => nonce}>
    <QueryClientProvider client={client}>
      <Notifications position="bottom-left" limit={4} />
      <App />
    </QueryClientProvider>
  </MantineProvider>,
);
