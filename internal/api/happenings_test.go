package api_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
)

// change reads the next event, which must tell of a change.
func (s *stream) change() (seq int64, action, subject, environment string, version int64) {
	s.t.Helper()
	e := s.next()
	var told struct {
		Seq                          int64
		Action, Subject, Environment string
		Version                      int64
	}
	if e.name != "change" || json.Unmarshal([]byte(e.data), &told) != nil || e.id != strconv.FormatInt(told.Seq, 10) {
		s.t.Fatalf("told %+v", e)
	}
	return told.Seq, told.Action, told.Subject, told.Environment, told.Version
}

func TestAPageIsToldOfEachChangeOnceAndInOrder(t *testing.T) {
	h := open(t)
	s := h.streamOf("/api/v1/events", h.admin)
	if e := s.next(); e.name != "hello" {
		t.Fatalf("greeted with %+v", e)
	}
	h.typed("shop.fast", "boolean", true, false)
	h.must("kill_flag", in("shop.fast"))
	var before int64
	var told []string
	for len(told) < 4 {
		seq, action, subject, environment, version := s.change()
		if before != 0 && seq != before+1 {
			t.Errorf("entry %d after %d", seq, before)
		}
		before = seq
		told = append(told, fmt.Sprint(action, " ", subject, " ", environment, " ", version))
	}
	want := "[flag.create shop.fast development 1 flag.create shop.fast production 1 flag.enable shop.fast production 2 flag.kill shop.fast production 3]"
	if got := fmt.Sprint(told); got != want {
		t.Errorf("told %s\nwant %s", got, want)
	}
	s.close()

	h.must("resume_flag", in("shop.fast"))
	back := h.streamOf("/api/v1/events", h.admin, "Last-Event-ID", strconv.FormatInt(before, 10))
	if seq, action, _, _, _ := back.change(); seq != before+1 || action != "flag.resume" {
		t.Errorf("a page that came back was told %s, entry %d after %d", action, seq, before)
	}
}

func TestAPageIsToldOnlyWhatItsReaderMaySee(t *testing.T) {
	h := open(t)
	h.typed("shop.fast", "boolean", true, false)
	h.typed("pay.fast", "boolean", true, false)
	narrow := h.token(fields{"kind": "api", "name": "shop", "actor": "user:ann", "flags": []string{"shop.*"}})
	s := h.streamOf("/api/v1/events", narrow)
	if e := s.next(); e.name != "hello" {
		t.Fatalf("greeted with %+v", e)
	}
	h.must("kill_flag", in("pay.fast"))
	h.must("kill_flag", in("shop.fast"))
	if _, _, subject, _, _ := s.change(); subject != "shop.fast" {
		t.Errorf("told of %s", subject)
	}
}
