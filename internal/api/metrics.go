package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/flyballdev/flyball/internal/service"
)

// metrics are what the server tells of itself.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	streams  prometheus.Gauge
	batches  *prometheus.CounterVec
	items    *prometheus.CounterVec
}

func newMetrics(s *service.Service) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "flyball_http_request_duration_seconds", Help: "Time to answer a request, by route.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "flyball_streams", Help: "SDK streams open now."}),
		batches: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "flyball_telemetry_batches_total", Help: "Telemetry batches, by outcome."}, []string{"outcome"}),
		items: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flyball_telemetry_lost_items_total", Help: "Items of accepted batches that enter no evidence: rejected, or unmatched by a live rollout.",
		}, []string{"outcome"}),
	}
	m.registry.MustRegister(m.requests, m.streams, m.batches, m.items)
	m.registry.MustRegister(auditMetrics(s)...)
	return m
}
