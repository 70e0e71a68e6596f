package service

import (
	"testing"

	"github.com/flyballdev/flyball"
)

// Files are for everybody who edits flags; teams in them are not.
func TestTeamsInFilesTakeWhoRunsTheInstallation(t *testing.T) {
	t.Parallel()
	h := newShop(t, nil)
	files := Apply{Files: Files{Teams: []flyball.Team{{Key: "default", Name: "Ours now"}}}, Reason: "a test"}
	editor := Principal{Actor: flyball.Actor{ID: "user:eve"}, Kind: flyball.TokenAPI, Rights: []flyball.Grants{{{Role: flyball.RoleEditor}}}}
	_, err := h.s.ApplyFiles(WithPrincipal(t.Context(), editor), files)
	wantCode(t, err, flyball.Forbidden, "")
	files.Teams[0].Name = "Default team"
	must[Applied](t)(h.s.ApplyFiles(WithPrincipal(t.Context(), editor), files)) // as it is
}
