// Package provider brings feature flags into a Go program.
//
// A [Provider] follows a Flyball server and evaluates every flag in the
// program itself, so that a request never waits for the network. It is an
// OpenFeature provider:
//
//	p, err := provider.New(provider.Options{
//		Server: "https://flags.example.com", Token: os.Getenv("FLYBALL_TOKEN"),
//		DataDir: "/var/lib/checkout", Service: "checkout", ServiceVersion: "1.4.2",
//	})
//	err = openfeature.SetProviderAndWait(p)
//
// The OpenFeature SDK itself costs one to two microseconds and about ten
// allocations for each evaluation. Loops that cannot afford that use the direct
// [Client], which records the same telemetry, between [Provider.Start] and
// [Provider.Close]:
//
//	flags := p.Client()
//	c := eval.NewContext("user-1").String("country", "CA") // once a request
//	if flags.Bool(ctx, "payments.checkout.new-flow", false, c) { … }
//
// Where even finding the flag is too much, bind it once:
//
//	var newFlow = flags.BoolFlag("payments.checkout.new-flow", false)
//	if newFlow.Value(c) { … }
//
// Whatever happens to the server, values stay as they are: the last ruleset
// that worked is kept in memory and, given a DataDir, on disk for ever, and a
// program starts from there. The provider says that it is STALE meanwhile, and
// that this is an ERROR after five minutes.
package provider

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/open-feature/go-sdk/openfeature"
)

// SDKVersion is what the provider calls itself in telemetry.
const SDKVersion = "go/0.1.0"

// Options say which server to follow, and who follows it.
type Options struct {
	// Server is the server's address, such as https://flags.example.com.
	Server string
	// Token is an SDK token of one environment.
	Token string
	// DataDir is the folder that keeps the last rulesets that worked, so that
	// a program starts without the server. Several programs may share it. Empty
	// keeps nothing. Files are private and never expire; they do not tell the
	// token.
	DataDir string
	// Environment is the name of the token's environment. With it, a token that
	// has saved nothing yet, such as one that was rotated, starts from what
	// another token of the same server saved of this environment. Empty: a token
	// starts from its own.
	Environment string
	// Service and ServiceVersion name the program in telemetry.
	Service        string
	ServiceVersion string
	// Instance names this copy of the program; random if empty.
	Instance string
	// InitTimeout bounds how long Start waits for the first ruleset (default
	// 5 s; at most 1 s of it if DataDir holds one).
	InitTimeout time.Duration
	// Transport carries the requests (default: a copy of
	// [http.DefaultTransport]).
	Transport http.RoundTripper
	// Logger is told of trouble (default [slog.Default]).
	Logger *slog.Logger
}

// A Provider follows one environment of one server. It is safe for use by any
// number of goroutines.
type Provider struct {
	options Options
	server  *url.URL
	client  *http.Client
	log     *slog.Logger
	pace    pace
	saved   saved
	rules   eval.Holder
	record  *recorder
	sample  *contextSampler
	events  chan openfeature.Event

	troubled atomic.Pointer[eval.Ruleset] // evaluation with it has panicked

	mu        sync.Mutex
	running   *running
	condition condition
	patience  *time.Timer   // runs while stale; ends in lost
	announced condition     // what OpenFeature has been told; empty while it must not be told
	problem   error         // with the server; nil if there is none
	unread    []string      // what of the ruleset could not be read
	news      chan struct{} // closed at the next change of anything above, or of the ruleset
}

// A condition is how the provider stands with its server.
type condition string

const (
	connecting condition = ""
	fresh      condition = "fresh"   // it has what the server has
	stale      condition = "stale"   // the server cannot be reached
	lost       condition = "lost"    // the same, for longer than pace.grace
	refused    condition = "refused" // the server does not accept the token
)

// pace holds all times that the provider keeps.
type pace struct {
	retry, retryMax, refusedMax time.Duration // between attempts: the least, the most, the most after a refusal
	settled                     time.Duration // how long a stream lives before its end counts as the first
	header, stall               time.Duration // until a stream answers; between two signs of life
	request                     time.Duration // one poll or one batch
	init, initSaved             time.Duration // how long Start waits, without and with a saved ruleset
	announce                    time.Duration // how long after Start, so that OpenFeature has told READY
	flush, flushLive, idle      time.Duration // telemetry: by default, under a rollout, with nothing to say
	applied                     time.Duration // within which a new ruleset is reported
	grace                       time.Duration // for which the server may be away before that is an error
	soak                        time.Duration // a ruleset runs before a program may start from it
}

var usualPace = pace{
	retry: time.Second, retryMax: 30 * time.Second, refusedMax: 5 * time.Minute, settled: 10 * time.Second,
	header: 10 * time.Second, stall: 45 * time.Second, request: 10 * time.Second,
	init: 5 * time.Second, initSaved: time.Second, announce: 50 * time.Millisecond,
	flush: 10 * time.Second, flushLive: 250 * time.Millisecond, idle: 30 * time.Second, applied: 200 * time.Millisecond,
	grace: 5 * time.Minute, soak: 30 * time.Second,
}

// running is what Start began and Close ends.
type running struct {
	cancel context.CancelFunc // ends following and saving at once
	stop   chan struct{}      // closed: send what is left, then end
	abort  context.CancelFunc // ends sending at once
	timer  *time.Timer
	done   chan struct{} // closed when every goroutine has ended
}

// New returns a provider that has not started. Its error names the option to
// mend.
func New(options Options) (*Provider, error) {
	server, err := url.Parse(strings.TrimSuffix(options.Server, "/"))
	switch {
	case err != nil || server.Scheme != "http" && server.Scheme != "https" || server.Host == "":
		return nil, flyball.FieldErrorf("Server", "%q is not an address such as https://flags.example.com", options.Server)
	case options.Token == "":
		return nil, flyball.FieldErrorf("Token", "needs an SDK token of the environment")
	case len(options.Service) > 128 || len(options.ServiceVersion) > 128 || len(options.Instance) > 128:
		return nil, flyball.FieldErrorf("Service", "Service, ServiceVersion and Instance have at most 128 bytes each")
	case options.InitTimeout < 0:
		return nil, flyball.FieldErrorf("InitTimeout", "must not be negative")
	}
	if options.Instance == "" {
		options.Instance = newID()
	}
	transport := options.Transport
	if transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		// A connection that went dead silently must not carry the next stream.
		t.HTTP2 = &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second}
		transport = t
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	p := &Provider{
		options: options, server: server, client: &http.Client{Transport: transport}, log: options.Logger,
		pace: usualPace, saved: newSaved(options), record: newRecorder(), sample: newContextSampler(),
		events: make(chan openfeature.Event, 64), news: make(chan struct{}),
	}
	if options.InitTimeout > 0 {
		p.pace.init = options.InitTimeout
		p.pace.initSaved = min(p.pace.initSaved, options.InitTimeout)
	}
	return p, nil
}

// newID returns a random UUID, version 4.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Start loads the saved ruleset, if there is one, begins to follow the server
// and waits until the provider is up to date. If the server cannot be reached
// in time it succeeds with the saved ruleset, and fails without one; it goes
// on trying in either case, until Close. The error's code is
// [flyball.Unauthenticated] or [flyball.Forbidden] if the token is refused,
// and [flyball.Unavailable] otherwise. Starting twice is starting once.
func (p *Provider) Start(ctx context.Context) error {
	p.mu.Lock()
	if p.running == nil {
		p.load()
		p.condition, p.announced, p.problem = connecting, connecting, nil
		p.running = p.begin()
	}
	p.mu.Unlock()
	err := p.wait(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.running; r != nil && r.timer == nil {
		told := fresh // OpenFeature tells READY after a success, ERROR after a failure
		if err != nil {
			told = refused
		}
		r.timer = time.AfterFunc(p.pace.announce, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.running == r && p.announced == connecting {
				p.announced = told
				p.announce()
			}
		})
	}
	return err
}

// load puts a saved ruleset in force.
func (p *Provider) load() {
	rs, as, skipped := p.saved.load()
	for _, err := range skipped {
		p.log.Warn("a saved ruleset cannot be used", "error", err)
	}
	if rs != nil && p.rules.Offer(rs) {
		p.record.live(rs.Live())
		if as == candidate {
			p.saved.offer(rs) // it may be promoted yet
		}
	}
}

// begin starts the goroutines that follow, save and send.
func (p *Provider) begin() *running {
	ctx, cancel := context.WithCancel(context.Background())
	sending, abort := context.WithCancel(context.Background())
	r := &running{cancel: cancel, stop: make(chan struct{}), abort: abort, done: make(chan struct{})}
	p.record.schedule(p.pace)
	var wg sync.WaitGroup
	followed := make(chan struct{})
	wg.Go(func() {
		defer close(followed)
		p.follow(ctx)
	})
	wg.Go(func() { p.keep(followed) })
	wg.Go(func() { p.send(sending, r.stop) })
	go func() {
		wg.Wait()
		close(r.done)
	}()
	return r
}

// wait returns when the provider is up to date, or knows that it will not be
// in time.
func (p *Provider) wait(ctx context.Context) error {
	limit := p.pace.init
	if p.rules.Current() != nil {
		limit = p.pace.initSaved
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	for over := false; ; {
		p.mu.Lock()
		condition, problem, news := p.condition, p.problem, p.news
		p.mu.Unlock()
		have := p.rules.Current() != nil
		switch {
		case have && (condition != connecting || over):
			return nil
		case condition == refused:
			return problem
		case over && problem != nil:
			return fmt.Errorf("no ruleset within %v: %w", limit, problem)
		case over:
			return flyball.Errorf(flyball.Unavailable, "no ruleset within %v: the server does not answer", limit)
		}
		select {
		case <-news:
		case <-late.C:
			over = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close sends what telemetry is left, as far as ctx allows, and ends every
// goroutine of the provider. Evaluation goes on with the last ruleset. The
// error tells that telemetry was lost.
func (p *Provider) Close(ctx context.Context) error {
	p.mu.Lock()
	r := p.running
	p.running = nil
	if r == nil {
		p.mu.Unlock()
		return nil
	}
	if r.timer != nil {
		r.timer.Stop()
	}
	p.calm()
	p.mu.Unlock()
	r.cancel()
	close(r.stop)
	select {
	case <-r.done:
	case <-ctx.Done():
		r.abort()
		<-r.done
	}
	r.abort()
	if p.options.Transport == nil { // it is ours
		p.client.CloseIdleConnections()
	}
	if n := p.record.left(); n > 0 {
		return flyball.Errorf(flyball.Unavailable, "%d exposures and observations were not sent", n)
	}
	return nil
}

// Evaluate resolves a flag for a context, which may be nil, and records what
// telemetry needs of it. It always answers; with an error code, Value is nil
// and the caller's own default stands. A Value that is a map or a list must
// not be changed.
func (p *Provider) Evaluate(key string, ec *flyball.EvaluationContext) flyball.Resolution {
	return p.evaluate(key, ec, nil)
}

// evaluate evaluates and records, unless the value does not fit: then the
// caller's default stands and the unit meets no variant.
func (p *Provider) evaluate(key string, ec *flyball.EvaluationContext, fits func(value any) bool) (r flyball.Resolution) {
	rs := p.rules.Current()
	defer func() {
		if recover() != nil { // a bug of ours must not take the program down
			p.troubled.Store(rs)
			r = flyball.Resolution{Reason: flyball.ReasonError, ErrorCode: flyball.ErrorGeneral}
		}
	}()
	p.sample.meetMap(ec)
	if !rs.Live() {
		r = rs.Evaluate(key, ec, time.Now, nil)
	} else {
		r = rs.Evaluate(key, ec, time.Now, func(flag string, r flyball.Resolution) {
			if ec != nil && (flag != key || fits == nil || fits(r.Value)) {
				p.record.expose(flag, ec.TargetingKey, &r)
			}
		})
	}
	switch {
	case r.ErrorCode == flyball.ErrorFlagNotFound:
		p.record.unknownFlag(key)
	case r.ErrorCode != "":
	case fits != nil && !fits(r.Value):
		return mismatch(&r)
	default:
		p.record.count(key, r.Variant)
	}
	return r
}

// mismatch is what a resolution becomes whose value is of another type than the
// caller wants.
func mismatch(r *flyball.Resolution) flyball.Resolution {
	return flyball.Resolution{Reason: flyball.ReasonError, ErrorCode: flyball.ErrorTypeMismatch, Rule: r.Rule, Version: r.Version}
}

// Observe records a measured value for the metrics that judge rollouts. The
// zero T is now. Its error names what is wrong with the observation.
func (p *Provider) Observe(o flyball.Observation) error {
	if o.T.IsZero() {
		o.T = time.Now()
	}
	if err := o.Validate(); err != nil {
		return err
	}
	p.record.observe(o)
	return nil
}

// Version returns the epoch and version of the ruleset in force; zero if there
// is none yet.
func (p *Provider) Version() flyball.RulesetID {
	if rs := p.rules.Current(); rs != nil {
		return rs.ID()
	}
	return flyball.RulesetID{}
}

// Ruleset returns the ruleset in force; nil if there is none yet.
func (p *Provider) Ruleset() *eval.Ruleset { return p.rules.Current() }

// Changed returns a channel that is closed at the next change of the ruleset
// or of how the provider stands with its server. Ask for it before looking at
// what may change.
func (p *Provider) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.news
}

// Err returns what keeps the provider from being up to date; nil if it is.
func (p *Provider) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.condition == fresh {
		return nil
	}
	if p.problem == nil {
		return errors.New("not connected yet")
	}
	return p.problem
}
