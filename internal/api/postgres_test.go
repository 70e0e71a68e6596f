package api_test

import (
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/flyballdev/flyball/internal/api"
	"github.com/flyballdev/flyball/internal/pgtest"
)

// The capabilities whose use cases fit together in one house, in this order.
var together = []string{
	"create_flag", "list_flags", "get_flag", "list_rules", "add_rule", "move_rule", "update_segment", "create_segment", "create_metric", "update_metric",
	"evaluate", "get_rollout", "pause_rollout", "start_rollout", "list_rollouts", "kill_flag", "resume_flag", "list_audit", "get_fleet", "export",
	"create_environment", "create_team", "create_token", "list_tokens", "revoke_token", "archive_flag",
}

func TestPostgreSQLDoesAsSQLiteDoes(t *testing.T) {
	t.Parallel()
	h := open(t, onDatabase(pgtest.URL(t)))
	furnish(h)
	uses := useCases(h)
	s := h.stream(h.sdk())
	s.next()
	for _, name := range together {
		before := h.state()
		r := h.call(h.admin, name, uses[name].in)
		if want := status(operation(t, name)); r.StatusCode != want {
			t.Fatalf("%s: %d: %s", name, r.StatusCode, r.body)
		}
		decodes(t, operation(t, name), r.body)
		after := h.state()
		if rose := after.Audit - before.Audit; rose != uses[name].bumps.Audit && name != "create_flag" && name != "update_segment" && name != "archive_flag" {
			t.Errorf("%s: the audit log rose by %d, want %d", name, rose, uses[name].bumps.Audit)
		}
	}
	for e := (event{}); e.id != h.tag(); e = s.next() {
		if e.name != "" && e.name != "patch" && e.name != "ruleset" {
			t.Errorf("%+v", e)
		}
	}
	sdk := h.sdk()
	b := batch("once", fields{"observations": []fields{observed(ago(0))}})
	if a := h.tell(sdk, b).want(t, 202).acknowledged(t); a.Duplicate || a.Accepted != 1 {
		t.Errorf("%+v", a)
	}
	if a := h.tell(sdk, b).want(t, 202).acknowledged(t); !a.Duplicate {
		t.Errorf("%+v", a)
	}
	h.send("POST", ofrep+"/"+fast, sdk, about(user())).want(t, 200)
}

// What is no text for one of the databases is refused before it gets there.
func TestOddTextIsNoFaultOfOurs(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]func(*testing.T) string{
		"sqlite": func(t *testing.T) string { return t.TempDir() + "/flyball.db" }, "postgres": func(t *testing.T) string { return pgtest.URL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, onDatabase(database(t)))
			furnish(h)
			uses := useCases(h)
			odd := []string{"a\x00b", "\xff\xfe", "\xed\xa0\x80", "\U0001f600\u2028", "'; DROP TABLE flag; --", `\u0000`}
			for _, o := range api.Operations() {
				for _, field := range append(o.PathFields(), "reason", "environment", "owner", "subject", "actor", "flag", "name", "query", "contact") {
					if o.Schema().Properties[field] == nil {
						continue
					}
					for _, text := range odd {
						h.call(h.admin, o.Name, uses[o.Name].in.with(field, text)) // any answer but a fault will do
					}
				}
			}
			sdk := h.sdk()
			for i, text := range odd {
				for _, token := range []string{"fb_api_" + text + "_" + strings.Repeat("0", 64), "fb_api_0123456789ab_" + text} {
					if !strings.ContainsAny(token, "\x00") { // which no header can hold
						h.send("GET", "/api/v1/flags", token, "").want(t, 401)
					}
				}
				odd := observed(ago(0)).with("unit", text).with("metric", text)
				h.tell(sdk, batch(strings.Repeat("i", i+1), fields{
					"batch": "odd-batch-" + text, "instance": fields{"id": "i" + text, "service": text, "version": text}, "applied": fields{"epoch": 1, "version": 1}, "errors": []string{text},
					"observations": []fields{odd}, "exposures": []fields{exposed(ago(0)).with("unit", text).with("flag", text).with("rollout", text)}, "unknownFlags": []string{text}, "counts": []fields{{"flag": text, "variant": text, "n": 1, "from": ago(0), "to": ago(0)}},
				}))
				h.send("POST", ofrep+"/"+url.PathEscape(text), sdk, about(fields{"targetingKey": text, text: text})).want(t, 404)
			}
			// And the next batch of an honest sender counts.
			h.tell(sdk, batch("honest", fields{"observations": []fields{observed(ago(0))}})).want(t, 202)
			eventually(t, "the fleet is read", func() bool {
				return h.must("get_fleet", fields{"environment": "production"}).read(t, "environments.0.instances").(float64) > 1
			})
			eventually(t, "the unknown flags are written", func() bool { return len(h.must("list_unknown_flags", fields{}).read(t, "unknown").([]any)) > 1 })
		})
	}
}

// A wire to a database, that can be cut and mended.
type wire struct {
	net.Listener
	network, to string

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (w *wire) run() {
	for {
		from, err := w.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial(w.network, w.to)
		w.mu.Lock()
		if err != nil || w.cut {
			from.Close()
		} else {
			w.conns = append(w.conns, from, to)
			go func() { io.Copy(to, from); to.Close() }()
			go func() { io.Copy(from, to); from.Close() }()
		}
		w.mu.Unlock()
	}
}

func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut = cut; cut {
		for _, c := range w.conns {
			c.Close()
		}
		w.conns = nil
	}
}

func TestEvaluationGoesOnWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	at, err := pgx.ParseConfig(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: listener}
	w.network, w.to = pgconn.NetworkAddress(at.Host, at.Port)
	defer w.Close()
	go w.run()
	through := url.URL{Scheme: "postgres", User: url.UserPassword(at.User, at.Password), Host: listener.Addr().String(), Path: at.Database, RawQuery: "sslmode=disable"}
	h := open(t, onDatabase(through.String()))
	furnish(h)
	sdk := h.sdk()
	s := h.stream(sdk)
	s.next()
	h.send("GET", "/sdk/v1/ruleset", sdk, "").want(t, 200) // and with that, its token is known

	w.set(true)
	h.send("GET", "/sdk/v1/ruleset", sdk, "").want(t, 200)
	h.send("POST", ofrep, sdk, about(user())).want(t, 200)
	h.stream(sdk).next()
	h.send("GET", "/healthz", "", "").want(t, 200)
	if r := h.send("GET", "/readyz", "", "").want(t, 200); !strings.HasPrefix(r.read(t, "database").(string), "down") {
		t.Errorf("%s", r.body)
	}
	h.call(h.admin, "kill_flag", in(search)).want(t, 503)
	h.call(h.admin, "list_flags", fields{}).want(t, 503)
	h.tell(sdk, batch("away", nil)).want(t, 503)
	h.send("GET", "/sdk/v1/ruleset", "fb_sdk_"+strings.Repeat("0", 12)+"_"+strings.Repeat("0", 64), "").want(t, 503)

	w.set(false)
	eventually(t, "a change goes through", func() bool { return h.call(h.admin, "kill_flag", in(search)).StatusCode == 200 })
	if e := s.next(); e.id != h.tag() {
		t.Errorf("the stream goes on with %+v", e)
	}
	if a := h.tell(sdk, batch("away", nil)).want(t, 202).acknowledged(t); a.Duplicate {
		t.Error("what was refused had been kept")
	}
}
