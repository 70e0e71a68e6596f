package store

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/google/go-cmp/cmp"
)

func TestANewDatabaseIsInEpochOneAndEmpty(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		view(t, db, func(tx *Tx) error {
			epoch, err := tx.Epoch()
			if epoch != 1 {
				t.Errorf("epoch %d, want 1", epoch)
			}
			environments, err2 := tx.Environments()
			if len(environments) != 0 {
				t.Errorf("environments %v, want none", environments)
			}
			return errors.Join(err, err2)
		})
		update(t, db, func(tx *Tx) error {
			epoch, err := tx.RaiseEpoch()
			if epoch != 2 {
				t.Errorf("raised to epoch %d, want 2", epoch)
			}
			return err
		})
	})
}

func TestEnvironmentsAndTeams(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, furnish())
		update(t, db, func(tx *Tx) error {
			wantCode(t, tx.InsertEnvironment(flyball.Environment{Key: "production"}), flyball.Conflict)
			wantCode(t, tx.UpdateEnvironment(flyball.Environment{Key: "nowhere"}), flyball.NotFound)
			_, err := tx.NextVersion("nowhere")
			wantCode(t, err, flyball.NotFound)
			_, err = tx.Team("nobody")
			wantCode(t, err, flyball.NotFound)
			version, err := tx.NextVersion("production")
			if version != 1 {
				t.Errorf("first version %d, want 1", version)
			}
			team := flyball.Team{Key: "payments-team", Name: "Payments", Contact: "#pay"}
			revision, err2 := tx.PutTeam(team, 1)
			if revision != 2 {
				t.Errorf("a team that was changed is at revision %d, want 2", revision)
			}
			env := flyball.Environment{Key: "production", Version: 99, Revision: 1, SampleAttributes: []string{"country"}}
			err = errors.Join(err, err2, tx.UpdateEnvironment(env))
			if e := wantCode(t, tx.UpdateEnvironment(env), flyball.Conflict); e.Details["version"] != int64(2) {
				t.Errorf("details %v, want the current revision 2", e.Details)
			}
			_, err2 = tx.PutTeam(team, 1)
			if e := wantCode(t, err2, flyball.Conflict); e.Details["version"] != int64(2) {
				t.Errorf("details %v, want the current revision 2", e.Details)
			}
			return err
		})
		view(t, db, func(tx *Tx) error {
			e, err := tx.Environment("production")
			if want := (flyball.Environment{Key: "production", Version: 1, Revision: 2, SampleAttributes: []string{"country"}}); !reflect.DeepEqual(e, want) {
				t.Errorf("got %+v, want %+v", e, want)
			}
			head, errHead := tx.Head("production")
			if want := (flyball.RulesetID{Epoch: 1, Version: 1}); head != want || errHead != nil {
				t.Errorf("got %v, %v, want %v", head, errHead, want)
			}
			_, errHead = tx.Head("nowhere")
			wantCode(t, errHead, flyball.NotFound)
			teams, err2 := tx.Teams()
			if want := []TeamRecord{{Team: flyball.Team{Key: "payments-team", Name: "Payments", Contact: "#pay"}, Revision: 2}}; !slices.Equal(teams, want) {
				t.Errorf("got %+v, want %+v", teams, want)
			}
			return errors.Join(err, err2)
		})
	})
}

func TestAFlagComesBackAsItWas(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		f := aFlag("payments.limit")
		f.Type, f.SafeVariant = flyball.TypeInteger, "low"
		f.Variants = flyball.Variants{"low": int64(9007199254740993), "high": int64(-1 << 63)} // no float64 holds the first
		f.Description = "Ünïcödé \x00 <&> '; DROP TABLE flag; --"
		f.ExpiresAt = &flyball.Time{Time: at.Add(time.Nanosecond)}
		update(t, db, func(tx *Tx) error { return tx.InsertFlag(f, "agent:bot", at) })
		view(t, db, func(tx *Tx) error {
			got, err := tx.Flag(f.Key)
			want := FlagRecord{Flag: f, Revision: 1, CreatedAt: at, CreatedBy: "agent:bot"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			return err
		})
	})
}

func TestAFlagChangesOnlyFromTheRevisionThatWasRead(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, furnish("a.flag"))
		f := aFlag("a.flag")
		update(t, db, func(tx *Tx) error {
			revision, err := tx.UpdateFlag(f, 1)
			if revision != 2 {
				t.Errorf("revision %d, want 2", revision)
			}
			return err
		})
		err := db.Update(t.Context(), func(tx *Tx) error { _, err := tx.UpdateFlag(f, 1); return err })
		if e := wantCode(t, err, flyball.Conflict); e.Details["version"] != int64(2) {
			t.Errorf("details %v, want the current version 2", e.Details)
		}
		err = db.Update(t.Context(), func(tx *Tx) error { _, err := tx.UpdateFlag(aFlag("no.flag"), 1); return err })
		wantCode(t, err, flyball.NotFound)
	})
}

func TestTheKeyOfAnArchivedFlagIsNeverUsedAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, furnish("a.flag", "b.flag"))
		update(t, db, func(tx *Tx) error {
			e := wantCode(t, tx.InsertFlag(aFlag("a.flag"), "user:bob", at), flyball.Conflict)
			if e.Details["createdBy"] != flyball.ActorID("user:ann") {
				t.Errorf("details %v, want the creator", e.Details)
			}
			return tx.ArchiveFlag("a.flag", "user:bob", "gone from code", at)
		})
		update(t, db, func(tx *Tx) error {
			e := wantCode(t, tx.InsertFlag(aFlag("a.flag"), "user:bob", at), flyball.Conflict)
			if e.Details["archivedWhy"] != "gone from code" || e.Details["archivedAt"] != at {
				t.Errorf("details %v, want when and why it was archived", e.Details)
			}
			wantCode(t, tx.ArchiveFlag("a.flag", "user:bob", "", at), flyball.Conflict)
			wantCode(t, tx.ArchiveFlag("no.flag", "user:bob", "", at), flyball.NotFound)
			_, err := tx.UpdateFlag(aFlag("a.flag"), 2)
			wantCode(t, err, flyball.Conflict)
			return nil
		})
		view(t, db, func(tx *Tx) error {
			flags, err := tx.Flags()
			if len(flags) != 1 || flags[0].Key != "b.flag" {
				t.Errorf("flags %v, want b.flag alone", flags)
			}
			old, err2 := tx.ArchivedFlags()
			if len(old) != 1 || old[0].Key != "a.flag" || old[0].ArchivedBy != "user:bob" {
				t.Errorf("archived flags %v, want a.flag alone", old)
			}
			served, err3 := tx.FlagConfigs("production")
			if len(served) != 1 || served[0].Flag != "b.flag" {
				t.Errorf("served %v, want b.flag alone", served)
			}
			rs, err4 := tx.Ruleset("production")
			if len(rs.Flags) != 1 || rs.Flags[0].Key != "b.flag" || rs.Epoch != 1 {
				t.Errorf("ruleset %+v, want b.flag alone", rs)
			}
			return errors.Join(err, err2, err3, err4)
		})
	})
}

func TestWhatIsServedChangesOnlyFromTheVersionThatWasRead(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, furnish("a.flag"))
		c := flyball.NewFlagConfig(aFlag("a.flag"))
		c.Enabled = true
		c.Killed = &flyball.Kill{At: at, By: "user:ann", Reason: "errors"}
		update(t, db, func(tx *Tx) error { return tx.UpdateFlagConfig("production", c, 7, 0) })
		update(t, db, func(tx *Tx) error {
			e := wantCode(t, tx.UpdateFlagConfig("production", c, 8, 0), flyball.Conflict)
			if e.Details["version"] != int64(7) {
				t.Errorf("details %v, want the current version 7", e.Details)
			}
			wantCode(t, tx.InsertFlagConfig("production", c, 8), flyball.Conflict)
			_, err := tx.FlagConfig("production", "no.flag")
			wantCode(t, err, flyball.NotFound)
			got, err := tx.FlagConfig("production", "a.flag")
			if diff := cmp.Diff(ConfigRecord{FlagConfig: c, Version: 7}, got); diff != "" {
				t.Error(diff)
			}
			return err
		})
		err := db.Update(t.Context(), func(tx *Tx) error { return tx.InsertFlagConfig("nowhere", c, 1) })
		wantCode(t, err, flyball.NotFound)
	})
}

func TestSegmentsAndMetricsCompareAndSet(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, func(tx *Tx) error {
			s := flyball.Segment{Key: "beta", Owner: "payments-team", Include: []string{"u1"}}
			m := flyball.Metric{Key: "checkout.errors", Type: flyball.MetricRate, Better: flyball.BetterLower}.WithDefaults()
			for name, put := range map[string]func(int64) (int64, error){
				"segment": func(read int64) (int64, error) { return tx.PutSegment(s, read) },
				"metric":  func(read int64) (int64, error) { return tx.PutMetric(m, read) },
			} {
				_, err := put(3)
				wantCode(t, err, flyball.NotFound)
				for read := range int64(2) {
					if revision, err := put(read); err != nil || revision != read+1 {
						t.Fatalf("%s: revision %d, %v; want %d", name, revision, err, read+1)
					}
				}
				for _, read := range []int64{0, 1, 3} {
					_, err := put(read)
					if e := wantCode(t, err, flyball.Conflict); e.Details["version"] != int64(2) {
						t.Errorf("%s: details %v, want the current version 2", name, e.Details)
					}
				}
			}
			gotS, err := tx.Segment("beta")
			if diff := cmp.Diff(SegmentRecord{s, 2}, gotS); diff != "" {
				t.Error(diff)
			}
			gotM, err2 := tx.Metric("checkout.errors")
			if diff := cmp.Diff(MetricRecord{m, 2}, gotM); diff != "" {
				t.Error(diff)
			}
			return errors.Join(err, err2)
		})
	})
}

func TestAFlagHasOneLiveRolloutInAnEnvironment(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, furnish("a.flag"))
		update(t, db, func(tx *Tx) error { return tx.InsertRollout(aRollout("r1", "a.flag")) })
		update(t, db, func(tx *Tx) error {
			e := wantCode(t, tx.InsertRollout(aRollout("r2", "a.flag")), flyball.Conflict)
			if e.Details["rollout"] != "r1" {
				t.Errorf("details %v, want the live rollout", e.Details)
			}
			r, err := tx.Rollout("r1")
			if err != nil {
				return err
			}
			r.State, r.EndedAt = flyball.RolloutAborted, &flyball.Time{Time: at}
			revision, err := tx.UpdateRollout(r)
			if revision != 2 {
				t.Errorf("revision %d, want 2", revision)
			}
			_, err2 := tx.UpdateRollout(r)
			if e := wantCode(t, err2, flyball.Conflict); e.Details["version"] != int64(2) {
				t.Errorf("details %v, want the current revision 2", e.Details)
			}
			wantCode(t, tx.InsertRollout(aRollout("r1", "a.flag")), flyball.Conflict)
			later := aRollout("r2", "a.flag")
			later.StartedAt = at.Add(time.Microsecond)
			return errors.Join(err, tx.InsertRollout(later))
		})
		view(t, db, func(tx *Tx) error {
			for _, tt := range []struct {
				which RolloutFilter
				want  []string
			}{
				{RolloutFilter{}, []string{"r2", "r1"}},
				{RolloutFilter{Limit: 1}, []string{"r2"}},
				{RolloutFilter{Live: true}, []string{"r2"}},
				{RolloutFilter{Environment: "production", Flag: "a.flag"}, []string{"r2", "r1"}},
				{RolloutFilter{Environment: "development"}, nil},
			} {
				found, err := tx.Rollouts(tt.which)
				if err != nil {
					return err
				}
				var ids []string
				for _, r := range found {
					ids = append(ids, r.ID)
				}
				if !slices.Equal(ids, tt.want) {
					t.Errorf("%+v: got %v, want %v", tt.which, ids, tt.want)
				}
			}
			return nil
		})
		err := db.Update(t.Context(), func(tx *Tx) error { // a second live one by update is refused by the index
			r, err := tx.Rollout("r1")
			r.State = flyball.RolloutRunning
			_, err2 := tx.UpdateRollout(r)
			return errors.Join(err, err2)
		})
		wantCode(t, err, flyball.Conflict)
	})
}

func TestEvidenceIsKept(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, furnish("a.flag"))
		update(t, db, func(tx *Tx) error { return tx.InsertRollout(aRollout("r1", "a.flag")) })
		update(t, db, func(tx *Tx) error {
			_, found, err := tx.EvidenceOf("r1")
			if found {
				t.Error("found evidence before any was put")
			}
			e := flyball.Evidence{Rollout: "r1", Verdict: flyball.Unsure, Guardrails: []flyball.MetricEvidence{{Metric: "m", E: 1.25e300}}}
			err = errors.Join(err, tx.PutEvidence("r1", e))
			e.Verdict = flyball.Breached
			err = errors.Join(err, tx.PutEvidence("r1", e))
			got, _, err2 := tx.EvidenceOf("r1")
			if diff := cmp.Diff(e, got); diff != "" {
				t.Error(diff)
			}
			return errors.Join(err, err2)
		})
	})
}

func TestTokens(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		token := flyball.Token{ID: "t1", Kind: flyball.TokenAPI, Name: "ann", Actor: "user:ann", CreatedAt: at}
		hash := []byte{0, 255, 1, '\'', 0}
		update(t, db, func(tx *Tx) error { return tx.InsertToken(token, hash) })
		update(t, db, func(tx *Tx) error {
			wantCode(t, tx.InsertToken(token, hash), flyball.Conflict)
			wantCode(t, tx.RevokeToken("t2", at), flyball.NotFound)
			_, _, err := tx.TokenByID("t2")
			wantCode(t, err, flyball.NotFound)
			return errors.Join(tx.RevokeToken("t1", at), tx.RevokeToken("t1", at.Add(time.Hour)))
		})
		view(t, db, func(tx *Tx) error {
			got, gotHash, err := tx.TokenByID("t1")
			token.RevokedAt = &flyball.Time{Time: at}
			if diff := cmp.Diff(token, got); diff != "" || !slices.Equal(hash, gotHash) {
				t.Errorf("%s, hash %x, want %x", diff, gotHash, hash)
			}
			all, err2 := tx.Tokens()
			if len(all) != 1 {
				t.Errorf("%d tokens, want 1", len(all))
			}
			return errors.Join(err, err2)
		})
	})
}

func TestTheLastUseOfATokenIsKept(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, func(tx *Tx) error {
			err := tx.InsertToken(flyball.Token{ID: "t1", Kind: flyball.TokenAPI, Name: "ann", Actor: "user:ann", CreatedAt: at}, []byte{1})
			return errors.Join(err, tx.UsedTokens(map[string]time.Time{"t1": at.Add(time.Hour), "gone": at}), tx.UsedTokens(map[string]time.Time{"t1": at}))
		})
		view(t, db, func(tx *Tx) error {
			all, err := tx.Tokens()
			one, _, err2 := tx.TokenByID("t1")
			if len(all) != 1 || all[0].LastUsed == nil || !all[0].LastUsed.Equal(at.Add(time.Hour)) || one.LastUsed == nil || !one.LastUsed.Equal(at.Add(time.Hour)) {
				t.Errorf("they were used %v, %v", all, one)
			}
			return errors.Join(err, err2)
		})
	})
}

func TestAnAccountChangesOnlyFromTheRevisionThatWasRead(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		ann := UserRecord{Password: "$argon2id$x", User: flyball.User{
			ID: "user:ann", Name: "Ann", Grants: flyball.Grants{{Role: flyball.RoleEditor, Team: "payments"}},
			Issuer: "https://id.example", Subject: "1", CreatedAt: flyball.Time{Time: at},
		}}
		update(t, db, func(tx *Tx) error {
			if has, err := tx.HasUsers(); has || err != nil {
				t.Errorf("an empty database has users: %v, %v", has, err)
			}
			return tx.PutUser(ann)
		})
		refused(t, db, func(tx *Tx) error { return tx.PutUser(ann) }, flyball.Conflict) // it is there already
		refused(t, db, func(tx *Tx) error {
			return tx.PutUser(UserRecord{User: flyball.User{ID: "user:bob", Issuer: "https://id.example", Subject: "1"}})
		}, flyball.Conflict)
		update(t, db, func(tx *Tx) error {
			got, err := tx.UserByIdentity("https://id.example", "1")
			ann.Revision = 1
			if diff := cmp.Diff(ann, got); diff != "" {
				t.Error(diff)
			}
			got.Name = "Ann A"
			bob := UserRecord{User: flyball.User{ID: "user:bob"}}
			return errors.Join(err, tx.PutUser(got), tx.PutUser(bob), tx.SawUsers(map[flyball.ActorID]time.Time{"user:ann": at, "user:gone": at}))
		})
		refused(t, db, func(tx *Tx) error { return tx.PutUser(ann) }, flyball.Conflict) // of an old revision
		view(t, db, func(tx *Tx) error {
			all, err := tx.Users()
			if len(all) != 2 || all[0].Name != "Ann A" || all[0].Revision != 2 || all[0].LastSeen == nil || !all[0].LastSeen.Equal(at) || all[1].LastSeen != nil {
				t.Errorf("the users are %+v", all)
			}
			_, err2 := tx.UserByIdentity("", "") // bob is nobody to any provider
			wantCode(t, err2, flyball.NotFound)
			return err
		})
	})
}

// refused runs a change that the database is to refuse.
func refused(t *testing.T, db *DB, f func(*Tx) error, code flyball.Code) {
	t.Helper()
	wantCode(t, db.Update(t.Context(), f), code)
}

func TestSessionsAndLinks(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		one := Session{ID: "s1", User: "user:ann", Created: at, Seen: at, ProvedAt: at.Add(time.Second)}
		update(t, db, func(tx *Tx) error {
			return errors.Join(tx.PutUser(UserRecord{User: flyball.User{ID: "user:ann"}}), tx.InsertSession(one, []byte{0, 255}),
				tx.InsertSession(Session{ID: "s2", User: "user:ann", Created: at.Add(time.Hour), Seen: at.Add(time.Hour)}, []byte{1}),
				tx.InsertLink("h1", "user:ann", at.Add(time.Hour)), tx.InsertLink("h2", "", at.Add(time.Hour)), tx.InsertLink("h3", "user:ann", at))
		})
		view(t, db, func(tx *Tx) error {
			got, hash, err := tx.SessionByID("s1")
			if diff := cmp.Diff(one, got); diff != "" || !slices.Equal(hash, []byte{0, 255}) {
				t.Errorf("%s, hash %x", diff, hash)
			}
			two, _, err2 := tx.SessionByID("s2")
			if !two.ProvedAt.IsZero() {
				t.Errorf("it was proved at %v", two.ProvedAt)
			}
			return errors.Join(err, err2)
		})
		update(t, db, func(tx *Tx) error {
			first, err := tx.UseLink("h1", at)
			_, again := tx.UseLink("h1", at)
			_, over := tx.UseLink("h3", at)
			setup, err2 := tx.UseLink("h2", at)
			wantCode(t, again, flyball.NotFound)
			wantCode(t, over, flyball.NotFound)
			if first != "user:ann" || setup != "" {
				t.Errorf("the links were of %q and %q", first, setup)
			}
			return errors.Join(err, err2, tx.SawSessions(map[string]time.Time{"s1": at.Add(2 * time.Hour)}, at.Add(time.Minute), at))
		})
		view(t, db, func(tx *Tx) error {
			_, _, gone := tx.SessionByID("s1") // it began too long ago, however lately it was used
			wantCode(t, gone, flyball.NotFound)
			_, _, err := tx.SessionByID("s2")
			return err
		})
		update(t, db, func(tx *Tx) error { return tx.DeleteSessionsOf("user:ann") })
		view(t, db, func(tx *Tx) error {
			_, _, gone := tx.SessionByID("s2")
			wantCode(t, gone, flyball.NotFound)
			return nil
		})
	})
}

func TestInstancesKeepTheLaterWord(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		put := func(id string, version int64, seen time.Time) {
			update(t, db, func(tx *Tx) error {
				return tx.PutInstances([]flyball.Instance{{
					InstanceInfo: flyball.InstanceInfo{ID: id, Service: "shop"}, Environment: "production",
					Applied: &flyball.RulesetID{Epoch: 1, Version: version}, LastSeen: seen,
				}})
			})
		}
		put("i1", 5, at)
		put("i1", 4, at.Add(-time.Second)) // a late word
		put("i2", 5, at.Add(-time.Hour))
		put("zero\x00byte", 5, at.Add(-2*time.Hour))
		for since, want := range map[time.Time]int{at: 1, at.Add(-time.Hour): 2, at.Add(-3 * time.Hour): 3, at.Add(1): 1, at.Add(time.Microsecond): 0} {
			view(t, db, func(tx *Tx) error {
				found, err := tx.Instances("production", since)
				if len(found) != want || want == 1 && found[0].Applied.Version != 5 {
					t.Errorf("since %v: got %+v, want %d", since, found, want)
				}
				return err
			})
		}
		update(t, db, func(tx *Tx) error { return tx.ForgetInstances(at) })
		view(t, db, func(tx *Tx) error {
			found, err := tx.Instances("production", time.Time{})
			if len(found) != 1 {
				t.Errorf("%d instances left, want 1", len(found))
			}
			return err
		})
	})
}

func TestSettings(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		update(t, db, func(tx *Tx) error {
			_, found, err := tx.Setting("admin")
			if found {
				t.Error("found a setting that nobody put")
			}
			err = errors.Join(err, tx.PutSetting("admin", "made"), tx.PutSetting("admin", "made twice"))
			value, found, err2 := tx.Setting("admin")
			if !found || value != "made twice" {
				t.Errorf("got %q, want the last value", value)
			}
			return errors.Join(err, err2)
		})
	})
}

func TestAChangeRequestIsDecidedOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		first := flyball.ChangeRequest{ID: "c1", Operation: "enable_flag", Input: []byte(`{"key":"payments.limit"}`), CreatedAt: at, ExpiresAt: at.Add(time.Hour), State: flyball.RequestOpen}
		first.Proposer.ID = "user:ann"
		second, old, review := first, first, first
		second.ID, second.CreatedAt = "c2", at.Add(time.Second)
		old.ID, old.CreatedAt, old.ExpiresAt = "c0", at.Add(-2*time.Hour), at
		review.ID, review.State, review.CreatedAt, review.ExpiresAt = "r", flyball.RequestReview, at.Add(-time.Hour), at
		update(t, db, func(tx *Tx) error {
			return errors.Join(tx.InsertChangeRequest(first), tx.InsertChangeRequest(second), tx.InsertChangeRequest(old), tx.InsertChangeRequest(review))
		})
		open := func(want int) {
			t.Helper()
			view(t, db, func(tx *Tx) error {
				n, bytes, err := tx.CountOpen("user:ann", at)
				if none, nothing, _ := tx.CountOpen("user:bob", at); n != want || none != 0 || (bytes > 0) != (want > 0) || nothing != 0 {
					t.Errorf("%d are open, want %d; of somebody else %d", n, want, none)
				}
				return err
			})
		}
		open(2)
		var read RequestRecord
		view(t, db, func(tx *Tx) (err error) { read, err = tx.ChangeRequest("c1"); return err })
		if diff := cmp.Diff(first, read.ChangeRequest); diff != "" {
			t.Error(diff)
		}
		decided := read
		decided.State = flyball.RequestApplied
		update(t, db, func(tx *Tx) error { return tx.UpdateChangeRequest(decided) })
		open(1)
		update(t, db, func(tx *Tx) error {
			wantCode(t, tx.UpdateChangeRequest(read), flyball.Conflict)
			_, err := tx.ChangeRequest("c3")
			wantCode(t, err, flyball.NotFound)
			return nil
		})
		view(t, db, func(tx *Tx) error {
			for open, want := range map[bool][]string{true: {"r", "c2"}, false: {"r", "c2", "c1", "c0"}} {
				all, err := tx.ChangeRequests(open, at, "", 10)
				if err != nil {
					return err
				}
				var ids []string
				for _, r := range all {
					ids = append(ids, r.ID)
				}
				if !slices.Equal(ids, want) {
					t.Errorf("open only %v: %v, want %v", open, ids, want)
				}
			}
			return nil
		})
	})
}
