package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/ingest"
)

func (p *program) backtestCommand() *cobra.Command {
	var planFile, metricsFile string
	var o ingest.BacktestOptions
	c := &cobra.Command{
		Use:   "backtest --plan PLAN --metrics METRICS HISTORY",
		Short: "Judge recorded history as it would have been judged live",
		Long: "Reads exposures and observations in the order of time, as JSON lines or CSV\n" +
			"(t,kind,flag,variant,unit,metric,value and further columns as attributes), and prints\n" +
			"one JSON line for each decision, and one for the end. - is standard input.\n" +
			"Exits with 4 if a guardrail tripped, 0 if the rollout finished or all guardrails were\n" +
			"shown to be healthy, and 5 otherwise.",
		Example: "  flyball backtest --plan rollout.yaml --metrics metrics.yaml history.ndjson\n" +
			"  flyball backtest --plan rollout.yaml --metrics metrics.yaml --judge-only --share 500000 history.csv",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage{fmt.Errorf("\"%s\" takes one HISTORY; - is standard input\nsee \"%s --help\"", c.CommandPath(), c.CommandPath())}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if planFile == "" || metricsFile == "" {
				return usage{errors.New("--plan and --metrics name the files of the rollout and of its metrics")}
			}
			var plan flyball.RolloutPlan
			if err := readStrict(planFile, &plan); err != nil {
				return err
			}
			metrics, err := readMetrics(metricsFile)
			if err != nil {
				return err
			}
			return p.backtest(plan, metrics, args[0], o)
		},
	}
	f := c.Flags()
	f.StringVar(&planFile, "plan", "", "the rollout's plan, as YAML (required)")
	f.StringVar(&metricsFile, "metrics", "", "the metrics, as YAML (required)")
	f.BoolVar(&o.JudgeOnly, "judge-only", false, "ignore steps and holds, read everything, and tell when each metric tripped or was shown healthy")
	f.IntVar(&o.SharePPM, "share", 0, "the intended share of the treatment in ppm, by which the sample ratio is judged")
	return c
}

func (p *program) backtest(plan flyball.RolloutPlan, metrics []flyball.Metric, file string, o ingest.BacktestOptions) error {
	history := p.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		history = f
	}
	lines := json.NewEncoder(p.out)
	lines.SetEscapeHTML(false)
	code, err := ingest.Backtest(plan, metrics, history, o, func(line any) { lines.Encode(line) })
	if err != nil {
		return err
	}
	if code != exitDone {
		return exit(code)
	}
	return nil
}

// readStrict reads a YAML file and refuses fields that it does not know.
func readStrict(file string, into any) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	encoded, err := yaml.YAMLToJSON(content)
	if err != nil {
		return fmt.Errorf("%s: not YAML: %s", file, yaml.FormatError(err, false, false))
	}
	d := json.NewDecoder(bytes.NewReader(encoded))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// readMetrics reads one metric or a list of them.
func readMetrics(file string) ([]flyball.Metric, error) {
	var all []flyball.Metric
	if err := readStrict(file, &all); err == nil {
		return all, nil
	}
	var one flyball.Metric
	if err := readStrict(file, &one); err != nil {
		return nil, err
	}
	return []flyball.Metric{one}, nil
}
