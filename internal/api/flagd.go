package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/flagd"
	"github.com/flyballdev/flyball/internal/service"
)

// A flagdDocument is a ruleset as flagd's programs read it.
type flagdDocument struct {
	tag     string // epoch, version, and what the document says, since a later version of ours may say more
	json    []byte
	gzip    func() []byte
	skipped []flagd.Skipped
	err     error
}

// flagdOf returns the document of a ruleset for tokens like p's, which is made
// once for all of them.
func flagdOf(head *service.Published, p service.Principal) (*flagdDocument, error) {
	d := head.Keep("flagd "+strings.Join(p.Flags, " "), func() any {
		return sync.OnceValue(func() *flagdDocument { return newFlagdDocument(head, p.Flags) })
	}).(func() *flagdDocument)()
	return d, d.err
}

func newFlagdDocument(head *service.Published, globs []string) *flagdDocument {
	doc, v := head.Doc(), (*service.View)(nil)
	if len(globs) > 0 {
		var err error
		if v, err = head.View(globs); err == nil {
			doc, err = eval.Decode(v.JSON())
		}
		if err != nil {
			return &flagdDocument{err: err}
		}
	}
	d := &flagdDocument{}
	d.json, d.skipped = flagd.Export(doc)
	if d.skipped == nil {
		d.skipped = []flagd.Skipped{}
	}
	sum, id := sha256.Sum256(d.json), head.ID()
	d.tag = strconv.FormatInt(id.Epoch, 10) + "." + strconv.FormatInt(id.Version, 10) + "-" + hex.EncodeToString(sum[:6])
	d.gzip = sync.OnceValue(func() []byte {
		var b bytes.Buffer
		w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is one that there is
		w.Write(d.json)                                 // to memory, which does not fail
		w.Close()
		return b.Bytes()
	})
	return d
}

// flagd answers with the document in force, or that the caller has it.
func (s *Server) flagd(w http.ResponseWriter, r *http.Request) {
	p := service.PrincipalOf(r.Context())
	head, err := s.service.Published(p.Environment)
	var d *flagdDocument
	if err == nil {
		d, err = flagdOf(head, p)
	}
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	s.noteAll(head, &p)
	h := w.Header()
	h.Set("ETag", `"`+d.tag+`"`)
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding, Authorization, X-API-Key")
	if matchesETag(r.Header.Get("If-None-Match"), d.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json")
	body := d.json
	if takesGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		body = d.gzip()
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// FlagdSync returns a server of flagd's sync protocol: it opens to the tokens
// that open rulesets, and ends its streams when this server drains.
func (s *Server) FlagdSync() *flagd.Server {
	return flagd.NewServer(flagd.Sync{Open: s.openFlagd, Stopping: s.drain, Recheck: s.pace.recheck, Log: s.log})
}

func (s *Server) openFlagd(ctx context.Context, c flagd.Call) (flagd.Session, error) {
	p, err := s.sdkPrincipal(ctx, c.Token)
	if err != nil {
		return flagd.Session{}, err
	}
	session := flagd.Session{
		Document: func() ([]byte, <-chan struct{}, error) {
			head, err := s.service.Published(p.Environment)
			if err != nil {
				return nil, nil, err
			}
			d, err := flagdOf(head, p)
			s.noteAll(head, &p)
			return d.json, head.Superseded, err
		},
		Recheck: func() error {
			_, err := s.sdkPrincipal(ctx, c.Token)
			if head, failed := s.service.Published(p.Environment); err == nil && failed == nil {
				s.noteAll(head, &p)
			}
			return err
		},
		Leave: func() {},
	}
	if c.Stream {
		leave, err := s.streams.enter(p.Token, c.Remote)
		if err != nil {
			return flagd.Session{}, err
		}
		s.metrics.streams.Inc()
		session.Leave = func() { leave(); s.metrics.streams.Dec() }
	}
	return session, nil
}

func (s *Server) sdkPrincipal(ctx context.Context, token string) (service.Principal, error) {
	if token == "" {
		return service.Principal{}, flyball.Errorf(flyball.Unauthenticated, "no token: send one as metadata \"authorization: Bearer fb_…\"")
	}
	p, err := s.service.Authenticate(ctx, token)
	if err == nil {
		err = service.Allow(p, service.SDK)
	}
	if err != nil {
		return service.Principal{}, err
	}
	return *p, nil
}

// An ExportFlagd says of which environment.
type ExportFlagd struct {
	Environment string `json:"environment" doc:"where" example:"production"`
}

// A FlagdExport is what flagd's programs are sent, and what they are not.
type FlagdExport struct {
	Document json.RawMessage `json:"document" doc:"the ruleset as flagd reads it"`
	Skipped  []flagd.Skipped `json:"skipped" doc:"the flags that flagd cannot express, which are not in the document"`
}

func exportFlagd(s *service.Service, ctx context.Context, in ExportFlagd) (FlagdExport, error) {
	head, err := s.Published(in.Environment)
	if err != nil {
		return FlagdExport{}, err
	}
	d, err := flagdOf(head, service.PrincipalOf(ctx))
	return FlagdExport{Document: d.json, Skipped: d.skipped}, err
}
