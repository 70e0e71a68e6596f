package api_test

import (
	"io"
	"testing"
	"time"
)

// Over HTTP a wait ends with what it waits for, or, without that, when the
// server is about to stop: then with an answer, so that nobody takes it for a
// failure.
func TestAWaitEndsWithTheEventOrTheServer(t *testing.T) {
	t.Parallel()
	h := furnished(t)
	wait := func(what string) <-chan reply {
		t.Helper()
		out := make(chan reply, 1)
		go func() {
			resp := h.begin("GET", "/api/v1/rollouts/"+fast+"/await?for="+what+"&timeout=60s", h.admin, "")
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Error(err)
			}
			out <- reply{resp, body}
		}()
		select {
		case r := <-out:
			t.Fatalf("it does not wait: %s", r.body)
		case <-time.After(300 * time.Millisecond):
		}
		return out
	}
	ended := func(out <-chan reply) reply {
		t.Helper()
		select {
		case r := <-out:
			return r.want(t, 200)
		case <-time.After(20 * time.Second):
			t.Fatal("it still waits")
			return reply{}
		}
	}
	steps, end := wait("step"), wait("end")
	h.must("abort_rollout", fields{"id": fast, "reason": "support calls"})
	for _, out := range []<-chan reply{steps, end} {
		if r := ended(out); r.read(t, "done") != true || r.read(t, "outcome") != "aborted" || r.read(t, "why") != "support calls" {
			t.Errorf("%s", r.body)
		}
	}
	h.must("start_rollout", plan(fast))
	verdict := wait("verdict")
	h.api.Drain()
	if r := ended(verdict); r.read(t, "done") != false || r.read(t, "outcome") != "unsure" {
		t.Errorf("%s", r.body)
	}
}
