package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

const (
	senders   = 8
	users     = 20_000
	batchSize = 500
	bodies    = 32 // that each sender has ready, and sends by turns
	routes    = 10
)

// A crowd is the programs that send telemetry. What they send is rendered before
// anything is measured; only the batch's id and number differ each time.
type crowd struct {
	url, token string
	rollout    string
	senders    []*sender
	client     *http.Client
	sent       atomic.Int64 // observations, each once
}

type sender struct {
	name  string
	seq   int64
	rests [][]byte // of a batch's JSON, after its number
}

func newCrowd(url, token, rollout string) *crowd {
	c := &crowd{url: url + "/sdk/v1/telemetry", token: token, rollout: rollout,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}, Timeout: 30 * time.Second}}
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range senders {
		s := &sender{name: fmt.Sprint("sender-", i)}
		for range bodies {
			s.rests = append(s.rests, rest(s.name, nil, observations(rng)))
		}
		c.senders = append(c.senders, s)
	}
	return c
}

func user(n int) string { return fmt.Sprint("user-", n) }

// observations are of requests: each failed or not, took a while on its route, and
// called another service, again if need be.
func observations(rng *rand.Rand) (all []flyball.Observation) {
	now := time.Now()
	for i := range batchSize {
		o := flyball.Observation{T: now.Add(-time.Duration(rng.IntN(250)) * time.Millisecond), Unit: user(rng.IntN(users))}
		switch i % 5 {
		case 0, 1:
			o.Metric, o.Value = "latency", 100*rng.ExpFloat64()
			o.Attributes = flyball.Attributes{"route": fmt.Sprint("/route/", rng.IntN(routes))}
		case 2:
			o.Metric, o.Value = "call", 1
		case 3:
			o.Metric, o.Value = "retry", float64(rng.IntN(20)/19)
		default:
			o.Metric, o.Value = "failures", float64(rng.IntN(100)/99)
		}
		all = append(all, o)
	}
	return all
}

// rest renders a batch but for its id and number.
func rest(name string, exposures []flyball.Exposure, observations []flyball.Observation) []byte {
	body, err := json.Marshal(map[string]any{
		"sentAt": time.Now(), "instance": flyball.InstanceInfo{ID: name, Service: "shop"}, "exposures": exposures, "observations": observations,
	})
	if err != nil {
		panic(err) // of strings, numbers and times
	}
	return body[1:]
}

// expose tells of all users, and waits until that is on disk.
func (c *crowd) expose(ctx context.Context) error {
	var all []flyball.Exposure
	for n := range users {
		x := flyball.Exposure{T: time.Now(), Flag: rolled, Variant: "on", Unit: user(n), Rollout: c.rollout}
		if int(eval.Point(seed, x.Unit)) < treatment {
			x.Variant = "off"
		}
		all = append(all, x)
	}
	for i := 0; i < len(all); i += batchSize {
		s := c.senders[0]
		if err := c.post(ctx, s, rest(s.name, all[i:i+batchSize], nil), false); err != nil {
			return err
		}
	}
	return nil
}

// send lets all senders send for so long, each batch when the one before is
// acknowledged; at a rate above 0 no more than so many observations a second.
func (c *crowd) send(ctx context.Context, long time.Duration, rate int) error {
	var wait sync.WaitGroup
	errs := make(chan error, senders)
	began := time.Now()
	for i, s := range c.senders {
		wait.Go(func() {
			for n := 0; time.Since(began) < long && ctx.Err() == nil; n++ {
				if rate > 0 { // by turns, as programs do that know nothing of each other
					due := began.Add(time.Duration(n*senders+i) * batchSize * time.Second / time.Duration(rate))
					time.Sleep(time.Until(due))
				}
				if err := c.post(ctx, s, s.rests[n%bodies], s.seq%5 == 0); err != nil {
					errs <- err
					return
				}
				c.sent.Add(batchSize)
			}
		})
	}
	wait.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return ctx.Err()
	}
}

// post sends a batch, again where that is asked for: it must not count twice.
func (c *crowd) post(ctx context.Context, s *sender, rest []byte, twice bool) error {
	s.seq++
	head := fmt.Sprintf(`{"batch":"%s-%08d","seq":%d,`, s.name, s.seq, s.seq)
	for again := range 2 {
		body := io.MultiReader(bytes.NewReader([]byte(head)), bytes.NewReader(rest))
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, body)
		if err != nil {
			return err
		}
		req.ContentLength = int64(len(head) + len(rest))
		req.Header.Set("Authorization", "Bearer "+c.token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := c.client.Do(req)
		if err != nil {
			return err
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		var reply flyball.TelemetryReply
		if err := json.Unmarshal(answer, &reply); err != nil || resp.StatusCode != http.StatusAccepted || reply.Duplicate != (again == 1) {
			return fmt.Errorf("a batch: %s: %.300s", resp.Status, answer)
		}
		if !twice {
			break
		}
	}
	return nil
}
