package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// exportAudit streams the audit log, an entry a line, as it was written and
// with its hash: who has the lines can prove them without this server. A stream
// that broke off is resumed after the last entry that arrived.
func (s *Server) exportAudit(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	after, err := int64(0), error(nil)
	for name := range query {
		if name != "after" {
			writeProblem(w, r, flyball.FieldErrorf(name, "is not known here; known are after"))
			return
		}
	}
	if text := query.Get("after"); text != "" {
		if after, err = strconv.ParseInt(text, 10, 64); err != nil || after < 0 {
			writeProblem(w, r, flyball.FieldErrorf("after", "%q is not the number of an entry", text))
			return
		}
	}
	begun := false
	answer := http.NewResponseController(w)
	err = s.service.ExportAudit(r.Context(), after, func(lines []byte) error {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
		answer.SetWriteDeadline(time.Now().Add(exportPatience))
		_, err := w.Write(lines)
		return err
	})
	switch {
	case err != nil && !begun:
		writeProblem(w, r, err)
	case err != nil:
		panic(http.ErrAbortHandler) // the reader must not take a part for the whole
	case !begun:
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.WriteHeader(http.StatusOK)
	}
}

// exportPatience is how long a reader of an export may take for a piece of it.
const exportPatience = 30 * time.Second

// auditMetrics tell whether the audit log proved itself, and when that was seen
// last.
func auditMetrics(s *service.Service) []prometheus.Collector {
	gauge := func(name, help string, value func(service.AuditHealth) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(s.AuditHealth()) })
	}
	return []prometheus.Collector{
		gauge("flyball_audit_broken", "1 if the audit log did not prove itself when it was last verified.", func(h service.AuditHealth) float64 {
			if h.Broken != nil {
				return 1
			}
			return 0
		}),
		gauge("flyball_audit_verified_entry", "The last entry of the audit log that was verified.", func(h service.AuditHealth) float64 { return float64(h.Seq) }),
		gauge("flyball_audit_verified_timestamp_seconds", "When the audit log was last verified; 0 if never.", func(h service.AuditHealth) float64 {
			if h.At.IsZero() {
				return 0
			}
			return float64(h.At.UnixMilli()) / 1000
		}),
	}
}
