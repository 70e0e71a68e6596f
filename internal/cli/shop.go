package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/open-feature/go-sdk/openfeature"

	"github.com/flyballdev/flyball/provider"
)

// The shop of the demonstration: customers who pay and search, spread over a
// few workers, each a program of its own as far as the server can see. Two
// features stand behind flags. Retrying payments is good: a quarter as many
// payments fail. The new ranking is fine for a few, but what it asks of its
// backend is too much for many: past its capacity, two searches in five fail.
const (
	goodFlag, goodMetric = "shop.checkout.retry-payments", "shop.checkout.errors"
	badFlag, badMetric   = "shop.search.new-ranking", "shop.search.errors"

	shopUsers   = 6000
	shopWorkers = 4
	shopRate    = 480 // requests a second, all workers together

	usualErrors, retriedErrors, overloadedErrors = 0.04, 0.01, 0.40

	backendWindow   = 500 * time.Millisecond
	backendCapacity = 30 // searches by the new ranking in a window
)

// A shop serves simulated customers until it is closed.
type shop struct {
	workers  []*worker
	backend  backend
	requests atomic.Int64
	seenBad  [shopUsers]atomic.Bool // customers who ever got the new ranking
	good     [2]tally               // payments without and with retries
	bad      [2]tally               // searches by the old and by the new ranking
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

// A worker is one instance of the shop's program.
type worker struct {
	provider *provider.Provider
	client   *openfeature.Client
	rand     *rand.Rand
}

// A tally counts requests and failures.
type tally struct{ requests, failed atomic.Int64 }

func (t *tally) count(failed bool) {
	t.requests.Add(1)
	if failed {
		t.failed.Add(1)
	}
}

// A backend has room for so many requests in a window of time.
type backend struct {
	mu     sync.Mutex
	recent []time.Time
	broke  time.Time // when it first had too little room
}

// overloaded takes one request and says whether there are too many.
func (b *backend) overloaded(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recent = append(b.recent, now)
	for len(b.recent) > 0 && now.Sub(b.recent[0]) > backendWindow {
		b.recent = b.recent[1:]
	}
	return len(b.recent) > backendCapacity
}

// failed notes the first request that failed for want of room.
func (b *backend) failed(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broke.IsZero() {
		b.broke = now
	}
}

func (b *backend) firstFailure() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.broke
}

// openShop starts the workers, each with a provider of its own.
func openShop(ctx context.Context, server, token string) (*shop, error) {
	s := &shop{}
	running, cancel := context.WithCancel(ctx)
	s.cancel = cancel
	for i := range shopWorkers {
		p, err := provider.New(provider.Options{
			Server: server, Token: token, Service: "shop", ServiceVersion: "1.0.0",
			Instance: fmt.Sprintf("shop-%d", i+1), Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return nil, errors.Join(err, s.close(ctx))
		}
		domain := fmt.Sprintf("shop-%d", i+1)
		if err := openfeature.SetNamedProviderWithContextAndWait(ctx, domain, p); err != nil {
			return nil, errors.Join(fmt.Errorf("worker %d: %w", i+1, err), s.close(ctx))
		}
		s.workers = append(s.workers, &worker{provider: p, client: openfeature.NewClient(domain), rand: rand.New(rand.NewPCG(uint64(i), 2026))})
	}
	for _, w := range s.workers {
		s.done.Go(func() { s.serve(running, w) })
	}
	return s, nil
}

// close stops the workers; their providers send what they still have.
func (s *shop) close(ctx context.Context) error {
	s.cancel()
	s.done.Wait()
	return openfeature.ShutdownWithContext(ctx)
}

// serve handles a worker's share of the customers, at an even pace.
func (s *shop) serve(ctx context.Context, w *worker) {
	const tick = 10 * time.Millisecond
	pace := time.NewTicker(tick)
	defer pace.Stop()
	start, served := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-pace.C:
			for due := int(now.Sub(start).Seconds() * shopRate / shopWorkers); served < due; served++ {
				s.visit(ctx, w)
			}
		}
	}
}

// visit is one customer who pays for something and searches for something.
func (s *shop) visit(ctx context.Context, w *worker) {
	user := w.rand.IntN(shopUsers)
	ec := openfeature.NewEvaluationContext(fmt.Sprintf("user-%d", user), map[string]any{"plan": []string{"free", "pro"}[user%2]})
	s.requests.Add(1)

	retries, _ := w.client.BooleanValue(ctx, goodFlag, false, ec)
	share := usualErrors
	if retries {
		share = retriedErrors
	}
	failed := w.rand.Float64() < share
	s.good[index(retries)].count(failed)
	w.client.Track(ctx, goodMetric, ec, openfeature.NewTrackingEventDetails(float64(index(failed))))

	newRanking, _ := w.client.BooleanValue(ctx, badFlag, false, ec)
	share, overloaded := usualErrors, false
	if newRanking {
		s.seenBad[user].Store(true)
		if overloaded = s.backend.overloaded(time.Now()); overloaded {
			share = overloadedErrors
		}
	}
	failed = w.rand.Float64() < share
	if failed && overloaded {
		s.backend.failed(time.Now())
	}
	s.bad[index(newRanking)].count(failed)
	w.client.Track(ctx, badMetric, ec, openfeature.NewTrackingEventDetails(float64(index(failed))))
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// exposed counts the customers who ever got the new ranking.
func (s *shop) exposed() (n int) {
	for i := range s.seenBad {
		n += index(s.seenBad[i].Load())
	}
	return n
}

// safe says whether every worker runs a ruleset at least as new as version.
func (s *shop) safe(version int64) bool {
	for _, w := range s.workers {
		if w.provider.Version().Version < version {
			return false
		}
	}
	return true
}
