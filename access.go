package flyball

import (
	"slices"
	"strings"
)

// A Role says what somebody may do where it was granted.
type Role string

// The roles. An approver approves what others change, and changes nothing; an
// admin does everything. Everybody who signs in may read.
const (
	RoleViewer   Role = "viewer"
	RoleEditor   Role = "editor"
	RoleApprover Role = "approver"
	RoleAdmin    Role = "admin"
)

// A Grant gives a role in an environment, for what a team owns. Left out, they
// are every environment and every team.
type Grant struct {
	Role        Role   `json:"role" enum:"viewer,editor,approver,admin"`
	Environment string `json:"environment,omitempty" doc:"where it holds (default: everywhere)" example:"production"`
	Team        string `json:"team,omitempty" doc:"whose flags and segments it is for (default: everybody's)"`
}

// Grants are all that somebody was granted.
type Grants []Grant

// Installation is the grant of those who run an installation.
var Installation = Grants{{Role: RoleAdmin}}

// Validate reports every problem of the grants at once. Whether the
// environments and teams exist is for the caller to see.
func (gs Grants) Validate() error {
	p := newProblems()
	gs.validate(p)
	return p.err()
}

func (gs Grants) validate(p problems) {
	if len(gs) > 100 {
		p.add("grants", "%d grants, at most 100", len(gs))
	}
	for i, g := range gs {
		at := p.at("grants[%d]", i)
		oneOf(at, "role", g.Role, RoleViewer, RoleEditor, RoleApprover, RoleAdmin)
		if g.Environment != "" {
			at.key("environment", g.Environment)
		}
		if g.Team != "" {
			at.key("team", g.Team)
		}
	}
}

// Allow says whether the grants give a role, or admin, in an environment for a
// team's things. An empty environment or team asks for a grant that holds in
// every one.
func (gs Grants) Allow(role Role, environment, team string) bool {
	return slices.ContainsFunc(gs, func(g Grant) bool {
		return (g.Role == role || g.Role == RoleAdmin || role == RoleViewer) &&
			(g.Environment == "" || g.Environment == environment) &&
			(g.Team == "" || g.Team == team)
	})
}

// Runs says whether the grants are those of somebody who runs the
// installation: users, tokens, teams, environments and policy.
func (gs Grants) Runs() bool { return slices.Contains(gs, Grant{Role: RoleAdmin}) }

// A User is a person who signs in.
type User struct {
	ID        ActorID `json:"id" example:"user:ann" doc:"user: and a name"`
	Name      string  `json:"name,omitempty" example:"Ann Example"`
	Email     string  `json:"email,omitempty"`
	Grants    Grants  `json:"grants,omitempty"`
	Disabled  bool    `json:"disabled,omitempty" doc:"may not sign in, and its tokens open nothing"`
	CreatedAt Time    `json:"createdAt,omitzero"`
	LastSeen  *Time   `json:"lastSeen,omitempty" doc:"when the person was last signed in, to the minute"`
	// PasswordAt is when the password was last set; never, if there is none.
	PasswordAt *Time `json:"passwordAt,omitempty" doc:"when the password was last set"`
	// Issuer and Subject are who the person is to a provider of OpenID Connect.
	// An e-mail address is no identity: it can pass to somebody else.
	Issuer  string `json:"issuer,omitempty"`
	Subject string `json:"subject,omitempty"`
}

// Validate reports every problem of the user at once.
func (u User) Validate() error {
	p := newProblems()
	if u.ID.Kind() != "user" || !u.ID.Valid() {
		p.add("id", "is user: and a name of at most 128 letters, digits and . _ @ + -, such as user:ann")
	}
	p.text("name", u.Name)
	p.text("email", u.Email)
	if u.Email != "" && (len(u.Email) > 254 || strings.Count(u.Email, "@") != 1) {
		p.add("email", "is not an address")
	}
	for field, v := range map[string]string{"issuer": u.Issuer, "subject": u.Subject} {
		if p.text(field, v); len(v) > 255 {
			p.add(field, "has %d bytes, at most 255", len(v))
		}
	}
	if (u.Issuer == "") != (u.Subject == "") {
		p.add("subject", "issuer and subject go together: they say who the person is to a provider")
	}
	u.Grants.validate(p)
	return p.err()
}
