package api_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// sparse is a response writer that costs nothing, so that what is measured is
// ours.
type sparse struct {
	header http.Header
	status int
	bytes  int
}

func (w *sparse) Header() http.Header         { return w.header }
func (w *sparse) WriteHeader(status int)      { w.status = status }
func (w *sparse) Write(p []byte) (int, error) { w.bytes += len(p); return len(p), nil }

// repeated returns a function that asks a house the same again and again, without
// garbage of its own.
func repeated(t testing.TB, h *house, path, body string, headers ...string) func() *sparse {
	content := bytes.NewReader([]byte(body))
	req := httptest.NewRequest("POST", path, io.NopCloser(content))
	req.ContentLength = int64(len(body))
	req.Header.Set("Authorization", "Bearer "+h.sdk())
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := &sparse{header: http.Header{}}
	return func() *sparse {
		content.Seek(0, io.SeekStart)
		clear(w.header)
		w.status, w.bytes = 200, 0
		h.api.ServeHTTP(w, req)
		return w
	}
}

// evaluated is a house of some flags with a rule and a split each.
func evaluated(t testing.TB, flags int) *house {
	h := open(t)
	for i := range flags {
		key := fmt.Sprintf("bench.flag.n%04d", i)
		h.must("create_flag", boolean(key))
		h.must("configure_flag", in(key).with("enabled", true).with("default", split("on", 500_000, "off", 500_000)).
			with("rules", []fields{rule("canada", country("CA"), fields{"variant": "on"})}))
	}
	return h
}

var benchUser = about(user("country", "FR", "plan", "pro", "email", "ann@mycompany.com", "age", 42, "os", "ios", "version", "2.3.1"))

func benchmarkOFREP(b *testing.B, path string, flags, status int, headers ...string) {
	ask := repeated(b, evaluated(b, flags), path, benchUser, headers...)
	b.ReportAllocs()
	for b.Loop() {
		if w := ask(); w.status != status {
			b.Fatalf("%d after %d bytes", w.status, w.bytes)
		}
	}
}

func BenchmarkOFREPSingle(b *testing.B) { benchmarkOFREP(b, ofrep+"/bench.flag.n0000", 10, 200) }
func BenchmarkOFREPBulk(b *testing.B)   { benchmarkOFREP(b, ofrep, 100, 200) }
func BenchmarkOFREPBulkUnchanged(b *testing.B) {
	benchmarkOFREP(b, ofrep, 100, 304, "If-None-Match", "*")
}

// What an evaluation allocates beside net/http's own: the text of the body, the
// request's id and the header that has it; in bulk, the tag and the length too,
// with the headers that have them.
func TestAnEvaluationHardlyAllocates(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates too")
	}
	h := evaluated(t, 3)
	for what, c := range map[string]struct {
		ask  func() *sparse
		most float64
	}{
		"one flag":        {repeated(t, h, ofrep+"/bench.flag.n0000", benchUser), 3},
		"all flags":       {repeated(t, h, ofrep, benchUser), 7},
		"nothing changed": {repeated(t, h, ofrep, benchUser, "If-None-Match", "*"), 5},
	} {
		if w := c.ask(); w.status != 200 && w.status != 304 || w.bytes == 0 && w.status == 200 {
			t.Fatalf("%s: %d with %d bytes", what, w.status, w.bytes)
		}
		if got := testing.AllocsPerRun(2000, func() { c.ask() }); got > c.most {
			t.Errorf("%s: %v allocations, at most %v", what, got, c.most)
		}
	}
}

// A change reaches all streams.
func BenchmarkStreamFanOut(b *testing.B) {
	h := furnished(b)
	sdk := h.sdk()
	all := make([]*stream, 200)
	for i := range all {
		all[i] = h.stream(sdk)
		all[i].next()
	}
	i := 0
	for b.Loop() {
		h.must([]string{"disable_flag", "enable_flag"}[i%2], in(search))
		for _, s := range all {
			s.next()
		}
		i++
	}
	b.ReportMetric(float64(len(all)), "streams")
}
