package prometheus

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A fake answers as no honest Prometheus does. %d stands for the moment that was
// asked for.
func fake(t *testing.T, status int, answer func(w http.ResponseWriter, at int64)) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/status/buildinfo" {
			http.NotFound(w, r) // as what is like Prometheus, but is not
			return
		}
		if r.URL.Path != "/api/v1/query_range" || r.FormValue("query") == "" || r.FormValue("lookback_delta") == "" {
			t.Errorf("asked %s %v", r.URL.Path, r.Form)
		}
		at, err := strconv.ParseInt(r.FormValue("end"), 10, 64)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		answer(w, at)
	}))
	t.Cleanup(s.Close)
	c, err := New(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func matrix(series ...string) string {
	return `{"status":"success","data":{"resultType":"matrix","result":[` + strings.Join(series, ",") + `]}}`
}

func TestOnlyOneFiniteFreshSeriesCounts(t *testing.T) {
	const one = `{"metric":{},"values":[[AT,"0.5"]]}`
	for _, tt := range []struct{ name, answer, want string }{
		{"one value", matrix(one), ""},
		{"no value", matrix(), "the query has no value now"},
		{"two series", matrix(one, one), "the query has 2 values at once: make one of them, such as with sum()"},
		{"no number", matrix(`{"metric":{},"values":[[AT,"NaN"]]}`), "the query's value is NaN, which is no number to judge by"},
		{"too large a number", matrix(`{"metric":{},"values":[[AT,"+Inf"]]}`), "the query's value is +Inf, which is no number to judge by"},
		{"a stale one", matrix(`{"metric":{},"values":[[OLD,"0.5"]]}`), "the answer is for OLD, which nobody asked for: it is stale, or the clocks differ"},
		{"one twice", matrix(`{"metric":{},"values":[[AT,"0.5"],[AT,"0.6"]]}`), "the answer is for AT, which nobody asked for: it is stale, or the clocks differ"},
		{"a histogram", matrix(`{"metric":{},"histograms":[[AT,{"count":"1","sum":"1","buckets":[[0,"0","1","1"]]}]]}`), "the query's value is a histogram, not a number"},
		{"a string", `{"status":"success","data":{"resultType":"string","result":[AT,"0.5"]}}`, "the query was refused: bad_response: "},
		{"a vector", `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[AT,"0.5"]}]}}`, "the answer is no series of values"},
		{"part of the data", strings.Replace(matrix(one), `{"status"`, `{"warnings":["a store is\ndown"],"status"`, 1), "the answer comes with a warning: a store is down"},
		{"garbage", "<html>welcome", "the query was refused: bad_response: "},
		{"half an answer", matrix(one)[:60], "the query was refused: bad_response: "},
		{"nothing", "", "the query was refused: bad_response: "},
		{"null", "null", "the answer is no series of values"},
		{"an error", `{"status":"error","errorType":"bad_data","error":"parse error"}`, "the query was refused: bad_data: parse error"},
		{"a number that is none", matrix(`{"metric":{},"values":[[AT,"half"]]}`), "the query was refused: bad_response: "},
		{"a book", matrix(one) + strings.Repeat(" ", MaxBytes), "no answer that counts: it has more than 1048576 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := time.Unix(1_800_000_000, 0)
			old := at.Add(-time.Minute)
			c := fake(t, 200, func(w http.ResponseWriter, at int64) {
				io.WriteString(w, strings.NewReplacer("AT", fmt.Sprint(at), "OLD", fmt.Sprint(at-60)).Replace(tt.answer))
			})
			got, err := c.Ask(t.Context(), "up", at, at, time.Second)
			if tt.want == "" {
				if err != nil || len(got) != 1 || got[0].Value != 0.5 || !got[0].T.Equal(at) {
					t.Errorf("%v, %v", got, err)
				}
				return
			}
			want := strings.NewReplacer("AT", at.UTC().Format(time.RFC3339), "OLD", old.UTC().Format(time.RFC3339)).Replace(tt.want)
			if err == nil || !strings.HasPrefix(err.Error(), want) || len(got) > 0 {
				t.Errorf("%v, %v\nwant %s", got, err, want)
			}
		})
	}
}

func TestThePastMayHaveHoles(t *testing.T) {
	to := time.Unix(1_800_000_000, 0)
	c := fake(t, 200, func(w http.ResponseWriter, at int64) {
		io.WriteString(w, matrix(fmt.Sprintf(`{"metric":{},"values":[[%d,"1"],[%d,"NaN"],[%d,"3"]]}`, at-50, at-20, at)))
	})
	got, err := c.Ask(t.Context(), "up", to.Add(-time.Minute), to, 10*time.Second)
	if err != nil || len(got) != 2 || got[0].Value != 1 || !got[0].T.Equal(to.Add(-50*time.Second)) || got[1].Value != 3 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAServerThatDoesNotDoAsItShould(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	ask := func(c *Client) string {
		got, err := c.Ask(t.Context(), "up", at, at, time.Second)
		if err == nil || len(got) > 0 {
			t.Fatalf("%v, %v", got, err)
		}
		return err.Error()
	}
	t.Run("slow", func(t *testing.T) {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, "{")
			w.(http.Flusher).Flush()
			<-r.Context().Done() // the rest does not come
		}))
		t.Cleanup(s.Close)
		c, err := New(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		c.timeout = 100 * time.Millisecond
		if got := ask(c); got != "no answer within 100ms" {
			t.Error(got)
		}
	})
	t.Run("failing", func(t *testing.T) {
		c := fake(t, 500, func(w http.ResponseWriter, _ int64) { io.WriteString(w, strings.Repeat("x", 1000)) })
		if got := ask(c); got != "the query was refused: server_error: server error: 500" {
			t.Error(got)
		}
	})
	t.Run("elsewhere", func(t *testing.T) {
		s := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound))
		t.Cleanup(s.Close)
		c, err := New(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(c); got != "no answer that counts: it sends us elsewhere, and we do not go there" {
			t.Error(got)
		}
	})
	t.Run("gone", func(t *testing.T) {
		s := httptest.NewServer(http.NotFoundHandler())
		s.Close()
		c, err := New(strings.Replace(s.URL, "http://", "http://ann:secret@", 1))
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(c); got != "cannot be reached: connect: connection refused" {
			t.Error(got)
		}
	})
}

// A server that does not know how far to look back is asked when it scraped.
func TestAnOldServerMustScrape(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	for _, tt := range []struct{ version, scraped, want string }{
		{"2.42.0+ds", `[{"metric":{},"value":[AT,"AT"]}]`, ""},
		{"2.42.0", `[{"metric":{},"value":[AT,"OLD"]}]`, "nothing has been scraped lately"},
		{"2.9.1", `[]`, "nothing has been scraped lately"},
		{"2.43.0", `[]`, ""},
		{"3.1.0", `[]`, ""},
		{"new", `[]`, "nothing has been scraped lately"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := matrix(`{"metric":{},"values":[[AT,"0.5"]]}`)
			switch r.URL.Path {
			case "/api/v1/status/buildinfo":
				body = `{"status":"success","data":{"version":"` + tt.version + `"}}`
			case "/api/v1/query":
				body = `{"status":"success","data":{"resultType":"vector","result":` + tt.scraped + `}}`
			}
			io.WriteString(w, strings.NewReplacer("AT", fmt.Sprint(at.Unix()), "OLD", fmt.Sprint(at.Unix()-21)).Replace(body))
		}))
		t.Cleanup(s.Close)
		c, err := New(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Ask(t.Context(), "cpu", at, at, 10*time.Second)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
			t.Errorf("%s, scraped %s: %v", tt.version, tt.scraped, err)
		}
	}
}

func TestAnAddressIsChecked(t *testing.T) {
	for _, address := range []string{"", "prometheus:9090", "file:///etc/passwd", "http://", "http://ann:secret@%zz"} {
		if _, err := New(address); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", address, err)
		}
	}
}
