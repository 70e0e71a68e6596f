package cli

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/api"
)

// What others wrote cannot move the cursor, change the title or hide a line.
func TestATerminalObeysNothingThatOthersWrote(t *testing.T) {
	reason := "red \x1b[31m, a title \x1b]0;x\a, over\rwritten, \u009b2J, \u202eright to left, \x7f, a quote \", a \\u001b that is text, é"
	want := "red \ufffd[31m, a title \ufffd]0;x\ufffd, over\ufffdwritten, \ufffd2J, \ufffdright to left, \ufffd, a quote \", a \\u001b that is text, é"
	doc, err := json.Marshal(map[string]any{"entries": []any{map[string]any{"seq": 1, "reason": reason}}})
	if err != nil {
		t.Fatal(err)
	}
	var shown struct{ Entries []struct{ Reason string } }
	if err := json.Unmarshal(plainJSON(doc), &shown); err != nil || shown.Entries[0].Reason != want {
		t.Errorf("%v: %q, want %q", err, shown.Entries[0].Reason, want)
	}

	for name, o := range map[string]api.Operation{"a table": operation("list_audit"), "a thing": operation("get_flag")} {
		var out bytes.Buffer
		if err := (&program{out: &out, output: "table"}).answer(o, doc); err != nil {
			t.Fatal(err)
		}
		if i := bytes.IndexAny(out.Bytes(), "\x1b\a\r\x7f"); i >= 0 || out.Len() == 0 {
			t.Errorf("%s has a byte that a terminal obeys at %d: %q", name, i, out.Bytes())
		}
	}
	var errs bytes.Buffer
	(&program{err: &errs, output: "table"}).tellProblem(&api.Problem{Code: flyball.Conflict, Detail: reason})
	if bytes.ContainsAny(errs.Bytes(), "\x1b\a\r\x7f") {
		t.Errorf("a problem: %q", errs.Bytes())
	}
}
