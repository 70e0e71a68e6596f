package api_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
)

func benchmarkOFREP(b *testing.B, path string, flags int) {
	h := open(b)
	for i := range flags {
		key := fmt.Sprintf("bench.flag.n%04d", i)
		h.must("create_flag", boolean(key))
		h.must("configure_flag", in(key).with("enabled", true).with("default", split("on", 500_000, "off", 500_000)).
			with("rules", []fields{rule("canada", country("CA"), fields{"variant": "on"})}))
	}
	sdk, body := h.sdk(), about(user("country", "FR", "plan", "pro"))
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequest("POST", path, strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+sdk)
		w := httptest.NewRecorder()
		if h.api.ServeHTTP(w, req); w.Code != 200 {
			b.Fatalf("%d: %s", w.Code, w.Body)
		}
	}
}

func BenchmarkOFREPSingle(b *testing.B) { benchmarkOFREP(b, ofrep+"/bench.flag.n0000", 10) }
func BenchmarkOFREPBulk(b *testing.B)   { benchmarkOFREP(b, ofrep, 100) }

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
