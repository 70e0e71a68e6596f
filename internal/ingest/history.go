package ingest

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
)

// maxLine bounds a line of recorded history.
const maxLine = 1 << 20

// A history reads recorded exposures and observations: a JSON object on each
// line, {"t": …, "exposure": {…}} or {"t": …, "observation": {…}}, or CSV with
// the header t,kind,flag,variant,unit,metric,value and any further columns as
// attributes. It tells by the first character which of the two it is.
type history struct {
	lines   *bufio.Scanner
	line    int
	columns []string // of CSV; nil for JSON
	split   []string // the fields of a line, used again for the next
}

// A historyRecord is one line of history; one of the two is set.
type historyRecord struct {
	T           time.Time            `json:"t"`
	Exposure    *flyball.Exposure    `json:"exposure"`
	Observation *flyball.Observation `json:"observation"`
}

func newHistory(r io.Reader) *history {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	return &history{lines: lines}
}

// fault returns an error that names the line and the field.
func (h *history) fault(field, format string, args ...any) error {
	at := fmt.Sprintf("line %d", h.line)
	if field != "" {
		at += ": " + field
	}
	return flyball.FieldErrorf(at, format, args...)
}

// next returns the next record; [io.EOF] is the end.
func (h *history) next() (historyRecord, error) {
	for h.lines.Scan() {
		h.line++
		text := bytes.TrimSpace(bytes.TrimPrefix(h.lines.Bytes(), []byte("\ufeff")))
		switch {
		case len(text) == 0:
			continue
		case h.columns != nil:
			return h.parseCSV(string(text))
		case text[0] == '{':
			return h.parseJSON(text)
		}
		if err := h.header(string(text)); err != nil {
			return historyRecord{}, err
		}
	}
	if err := h.lines.Err(); err != nil {
		h.line++
		if errors.Is(err, bufio.ErrTooLong) {
			return historyRecord{}, h.fault("", "longer than %d bytes", maxLine)
		}
		return historyRecord{}, fmt.Errorf("line %d: %w", h.line, err)
	}
	return historyRecord{}, io.EOF
}

func (h *history) parseJSON(text []byte) (historyRecord, error) {
	var r historyRecord
	if err := json.Unmarshal(text, &r); err != nil {
		field := ""
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			field = e.Field
		}
		return r, h.fault(field, "cannot be read: %v", err)
	}
	return h.complete(r)
}

// complete checks a record and gives its parts the time of the line.
func (h *history) complete(r historyRecord) (historyRecord, error) {
	switch {
	case (r.Exposure == nil) == (r.Observation == nil):
		return r, h.fault("", "needs either an exposure or an observation")
	case r.Exposure != nil:
		x := r.Exposure
		if r.T.IsZero() {
			r.T = x.T
		}
		x.T = r.T
		x.Step = 0
		if x.Rollout == "" {
			x.Rollout = "recorded"
		}
		if x.Flag == "" {
			x.Flag = "recorded"
		}
		return r, h.about("exposure", x.Validate())
	}
	if r.T.IsZero() {
		r.T = r.Observation.T
	}
	r.Observation.T = r.T
	return r, h.about("observation", r.Observation.Validate())
}

func (h *history) about(part string, err error) error {
	if e, ok := errors.AsType[*flyball.Error](err); ok {
		if e.Field == "t" {
			return h.fault("t", "%s", e.Message)
		}
		return h.fault(part+"."+e.Field, "%s", e.Message)
	}
	return err
}

// The columns that CSV must have; others are attributes.
var historyColumns = []string{"t", "kind", "flag", "variant", "unit", "metric", "value"}

func (h *history) header(text string) error {
	columns, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return h.fault("", "neither a JSON object nor the header of a CSV: %v", err)
	}
	for i := range columns {
		columns[i] = strings.TrimSpace(columns[i])
	}
	for _, c := range historyColumns {
		if !slices.Contains(columns, c) {
			return h.fault(c, "history is JSON, an object on each line, or CSV with the header %s: this column is missing", strings.Join(historyColumns, ","))
		}
	}
	h.columns = columns
	return nil
}

// A historyRow is a row of CSV, its known columns by name.
type historyRow struct{ t, kind, flag, variant, unit, by, metric, value string }

// column returns where a known column of the row goes.
func (r *historyRow) column(name string) *string {
	switch name {
	case "t":
		return &r.t
	case "kind":
		return &r.kind
	case "flag":
		return &r.flag
	case "variant":
		return &r.variant
	case "unit":
		return &r.unit
	case "by":
		return &r.by
	case "metric":
		return &r.metric
	case "value":
		return &r.value
	}
	return nil
}

// fields splits a line; only one with quotes needs the whole grammar of CSV.
func (h *history) fields(text string) ([]string, error) {
	if strings.Contains(text, `"`) {
		return csv.NewReader(strings.NewReader(text)).Read()
	}
	h.split = h.split[:0]
	for {
		field, rest, more := strings.Cut(text, ",")
		h.split = append(h.split, field)
		if !more {
			return h.split, nil
		}
		text = rest
	}
}

func (h *history) parseCSV(text string) (historyRecord, error) {
	var r historyRecord
	fields, err := h.fields(text)
	if err != nil {
		return r, h.fault("", "cannot be read as CSV: %v", err)
	}
	if len(fields) != len(h.columns) {
		return r, h.fault("", "has %d columns, the header has %d", len(fields), len(h.columns))
	}
	var row historyRow
	var attributes flyball.Attributes
	for i, c := range h.columns {
		if at := row.column(c); at != nil {
			*at = strings.TrimSpace(fields[i])
		} else if fields[i] != "" && len(attributes) < flyball.MaxAttributes {
			if attributes == nil {
				attributes = make(flyball.Attributes)
			}
			attributes[c] = fields[i]
		}
	}
	if r.T, err = time.Parse(time.RFC3339Nano, row.t); err != nil {
		return r, h.fault("t", "%q is no time such as 2026-11-21T19:00:00Z", row.t)
	}
	switch row.kind {
	case "exposure":
		r.Exposure = &flyball.Exposure{Flag: row.flag, Variant: row.variant, Unit: row.unit, By: row.by}
	case "observation":
		value, err := strconv.ParseFloat(row.value, 64)
		if err != nil {
			return r, h.fault("value", "%q is no number", row.value)
		}
		r.Observation = &flyball.Observation{Metric: row.metric, Flag: row.flag, Variant: row.variant, Unit: row.unit, Value: value, Attributes: attributes}
	default:
		return r, h.fault("kind", "%q is neither exposure nor observation", row.kind)
	}
	return h.complete(r)
}
