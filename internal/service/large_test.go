package service

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// Whoever edits or proposes what is large, again and again, does not make the server
// hold all of it for whoever reads.
func TestWhatIsLargeIsTakenAndToldInParts(t *testing.T) {
	t.Parallel()
	h := newShop(t, nil)
	crowd := func(n int) PutSegment {
		put := PutSegment{Segment: flyball.Segment{Key: "crowd", Owner: "default"}, Reason: "a test"}
		for i := range 14_000 {
			put.Include = append(put.Include, fmt.Sprintf("%s%d-%d", strings.Repeat("u", 230), n, i))
		}
		return put
	}
	must[SegmentView](t)(h.s.CreateSegment(h.ctx, crowd(0)))
	const edits = 4
	for n := range edits {
		must[SegmentView](t)(h.s.UpdateSegment(h.ctx, crowd(n+1)))
	}
	pages, seen := 0, 0
	for in := (ListAudit{Subject: "crowd", Limit: 1000}); ; pages++ {
		a := must[Audit](t)(h.s.ListAudit(h.ctx, in))
		bytes := 0
		for _, e := range a.Entries {
			bytes += store.Size(e)
		}
		if seen += len(a.Entries); bytes > maxAuditBytes+12<<20 {
			t.Errorf("a page has %d bytes", bytes)
		}
		if !a.More {
			break
		}
		in.Before = a.Next
	}
	if pages < 1 || seen != edits+1 {
		t.Errorf("%d entries on %d pages and one", seen, pages)
	}

	input, err := json.Marshal(crowd(0))
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for ; err == nil && kept < 20; kept++ {
		_, err = h.s.UpdateSegment(WithManner(h.ctx, &Manner{Propose: &Proposal{Operation: "update_segment", Input: input}}), crowd(0))
	}
	wantCode(t, err, flyball.Conflict, "")
	all := must[Changes](t)(h.s.ListChanges(h.ctx, ListChanges{}))
	if len(all.Changes) != kept-1 || kept-1 < 2 || kept > 12 {
		t.Errorf("%d requests of %d bytes are kept, and %d are listed", kept-1, len(input), len(all.Changes))
	}
	for _, r := range all.Changes {
		if len(r.Input)+len(r.Plan.Edits) > 0 {
			t.Errorf("a list holds what %s has for input", r.ID)
		}
	}
}
