package service

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/flyballdev/flyball/internal/store"
)

// A remote says when somebody last evaluated an environment's flags who does not
// tell which: by remote evaluation, or in flagd. From then on, each of them
// counts as used.
type remote struct {
	last atomic.Int64 // in seconds since 1970
	kept int64        // what the database knows; touched by Follow alone
}

const (
	remoteFresh = 60 // seconds
	remoteKept  = time.Minute
)

// Asked notes that somebody evaluates the environment's flags without telling
// which.
func (p *Published) Asked() {
	if at := time.Now().Unix(); at-p.remote.last.Load() >= remoteFresh {
		p.remote.last.Store(at)
	}
}

func remoteSetting(environment string) string { return "remote:" + environment }

// keepRemote writes down when environments were last evaluated remotely, for other
// processes and for this one when it is started anew.
func (s *Service) keepRemote(ctx context.Context) error {
	newer := map[string]*remote{}
	s.mu.Lock()
	for env, head := range s.heads {
		if head.remote.last.Load() > head.remote.kept {
			newer[env] = head.remote
		}
	}
	s.mu.Unlock()
	for env, r := range newer {
		last := r.last.Load()
		err := s.db.Update(ctx, func(tx *store.Tx) error { return tx.PutSetting(remoteSetting(env), strconv.FormatInt(last, 10)) })
		if err != nil {
			return err
		}
		r.kept = last
	}
	return nil
}

// evaluatedRemotely says whether somebody evaluated an environment's flags lately
// who does not tell which.
func (e *edit) evaluatedRemotely(environment string) (bool, error) {
	since := e.at.Add(-usedLately).Unix()
	if head, err := e.service.Published(environment); err == nil && head.remote.last.Load() > since {
		return true, nil
	}
	text, found, err := e.tx.Setting(remoteSetting(environment))
	if err != nil || !found {
		return false, err
	}
	last, err := strconv.ParseInt(text, 10, 64)
	return last > since, err
}
