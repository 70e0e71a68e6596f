package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/open-feature/go-sdk/openfeature"
)

// A wire is a network without one: it answers with a status, or streams a
// ruleset and nothing but signs of life after it, or breaks. It keeps the usual
// paces testable, in time that costs nothing.
type wire struct {
	mu      sync.Mutex
	status  int // 0: connections break
	streams []io.Closer
	asked   []time.Time // when a stream was asked for
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	streaming := strings.HasSuffix(r.URL.Path, "/stream")
	if streaming {
		w.asked = append(w.asked, time.Now())
	}
	answer := &http.Response{StatusCode: w.status, Status: http.StatusText(w.status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: r}
	switch {
	case w.status == 0:
		return nil, errors.New("the network is gone")
	case w.status != http.StatusOK || !streaming:
		return answer, nil
	}
	from, to := io.Pipe()
	w.streams = append(w.streams, to)
	answer.Header.Set("Content-Type", "text/event-stream")
	answer.Body = from
	go func() {
		doc, _ := json.Marshal(ruleset(1, newFlag("team.a")))
		_, err := fmt.Fprintf(to, ": hello\n\nevent: ruleset\ndata: %s\n\n", doc)
		for err == nil {
			select {
			case <-time.After(15 * time.Second):
				_, err = io.WriteString(to, ": beat\n\n")
			case <-r.Context().Done():
				err = r.Context().Err()
			}
		}
		to.CloseWithError(err)
	}()
	return answer, nil
}

// become changes how the wire answers and breaks what is open.
func (w *wire) become(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status, w.asked = status, nil
	for _, s := range w.streams {
		_ = s.Close()
	}
	w.streams = nil
}

// pauses returns the shortest and the longest time between attempts.
func (w *wire) pauses() (attempts int, least, most time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	least = time.Hour
	for i, at := range w.asked[1:] {
		d := at.Sub(w.asked[i])
		least, most = min(least, d), max(most, d)
	}
	return len(w.asked), least, most
}

// told returns the events that wait, in order.
func told(p *Provider) (types []openfeature.EventType) {
	for len(p.events) > 0 {
		types = append(types, (<-p.events).EventType)
	}
	return types
}

func onWire(t *testing.T, test func(t *testing.T, w *wire, p *Provider)) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{status: http.StatusOK}
		p, err := New(Options{Server: "http://flags.example.com", Token: "fb_sdk_good", Transport: w, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if p.Err() != nil || p.variant("team.a") != "on" {
			t.Fatalf("at the start: %v, %s", p.Err(), p.variant("team.a"))
		}
		told(p)
		test(t, w, p)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = p.Close(ctx) // telemetry has nowhere to go
		w.become(0)
		synctest.Wait()
	})
}

func events(t *testing.T, p *Provider, when string, want ...openfeature.EventType) {
	t.Helper()
	if got := told(p); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: events %v, want %v", when, got, want)
	}
}

// STALE at once, ERROR after five minutes, READY on return; a short outage is
// no error, and each outage has five minutes of its own.
func TestTheEventsOfAnOutage(t *testing.T) {
	onWire(t, func(t *testing.T, w *wire, p *Provider) {
		w.become(0)
		synctest.Wait()
		events(t, p, "as the stream is lost", openfeature.ProviderStale)
		time.Sleep(usualPace.grace - time.Second)
		synctest.Wait()
		events(t, p, "a second before five minutes")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		events(t, p, "after five minutes", openfeature.ProviderError)
		time.Sleep(24 * time.Hour)
		events(t, p, "for a day")
		if p.variant("team.a") != "on" {
			t.Errorf("after a day it serves %s", p.variant("team.a"))
		}
		w.become(http.StatusOK)
		time.Sleep(usualPace.retryMax + time.Second)
		events(t, p, "within half a minute of the return", openfeature.ProviderReady)
		for range 3 {
			w.become(0)
			time.Sleep(3 * time.Minute)
			w.become(http.StatusOK)
			time.Sleep(usualPace.retryMax + time.Second)
			events(t, p, "around a short outage", openfeature.ProviderStale, openfeature.ProviderReady)
		}
		time.Sleep(time.Hour)
		events(t, p, "in an hour of peace")
	})
}

// Attempts come between 1 and 30 seconds apart while the server is away, up to
// five minutes apart where it refuses, and never end.
func TestAttemptsNeverEnd(t *testing.T) {
	for status, limit := range map[int]time.Duration{
		0: usualPace.retryMax, 500: usualPace.retryMax, 503: usualPace.retryMax, 429: usualPace.retryMax, 408: usualPace.retryMax,
		400: usualPace.refusedMax, 401: usualPace.refusedMax, 403: usualPace.refusedMax, 404: usualPace.refusedMax, 410: usualPace.refusedMax,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			onWire(t, func(t *testing.T, w *wire, p *Provider) {
				w.become(status)
				time.Sleep(24 * time.Hour)
				n, least, most := w.pauses()
				if least < usualPace.retry || most > limit || most < limit*9/10 {
					t.Errorf("attempts are %v to %v apart, want 1 s to %v", least, most, limit)
				}
				if atLeast := int(24 * time.Hour / limit); n < atLeast {
					t.Errorf("%d attempts in a day, want %d at least", n, atLeast)
				}
				w.become(http.StatusOK)
				time.Sleep(limit + time.Second)
				if p.Err() != nil {
					t.Errorf("%v after the return: %v", limit, p.Err())
				}
			})
		})
	}
}
