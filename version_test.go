package flyball_test

import (
	"strings"
	"testing"

	"github.com/flyballdev/flyball"
)

func parse(t *testing.T, s string) flyball.Version {
	t.Helper()
	v, ok := flyball.ParseVersion(s)
	if !ok {
		t.Fatalf("%q is not read as a version", s)
	}
	return v
}

// Each precedes all that follow it: the examples of Semantic Versioning 2.0.0,
// section 11, and the numbers of any length that its section 2 allows.
func TestVersionsAreInTheOrderOfTheStandard(t *testing.T) {
	for _, ordered := range [][]string{
		{"1.0.0", "2.0.0", "2.1.0", "2.1.1"},
		{"1.0.0-alpha", "1.0.0"},
		{"1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0"},
		{"1.0.0-1", "1.0.0-2", "1.0.0-10", "1.0.0--", "1.0.0-1a", "1.0.0-A", "1.0.0-a"},
		{"1.9.0", "1.10.0", "1.11.0"},
		{"1.0.0-9999999999999999998", "1.0.0-20000000000000000000", "1.0.0-100000000000000000000", "1.0.0-a"},
		{"18446744073709551615.0.0", "18446744073709551616.0.0", "99999999999999999999999.999999999999999999.99999999999999999"},
	} {
		for i, a := range ordered {
			for j, b := range ordered {
				want := 0
				if i < j {
					want = -1
				} else if i > j {
					want = 1
				}
				if got := parse(t, a).Compare(parse(t, b)); got != want {
					t.Errorf("%s against %s: got %d, want %d", a, b, got, want)
				}
			}
		}
	}
}

func TestWhatMakesNoDifferenceToAVersion(t *testing.T) {
	for _, same := range [][]string{
		{"1.2.0", "1.2", "v1.2", "v1.2.0", "1.2.0+build.7", "1.2+001"},
		{"1.0.0", "1", "v1"},
		{"1.0.0-rc.1", "1-rc.1", "v1.0-rc.1+meta"},
		{"0.0.0", "0", "0.0"},
	} {
		for _, s := range same {
			if parse(t, s).Compare(parse(t, same[0])) != 0 || parse(t, same[0]).Compare(parse(t, s)) != 0 {
				t.Errorf("%s differs from %s", s, same[0])
			}
		}
	}
}

// The valid ones are those that the standard proposes for testing its regular
// expression; so are most of the others.
func TestWhatIsAVersion(t *testing.T) {
	for _, s := range []string{
		"0.0.4", "1.2.3", "10.20.30", "1.1.2-prerelease+meta", "1.1.2+meta", "1.0.0-alpha", "1.0.0-alpha.beta.1", "1.0.0-alpha0.valid",
		"1.0.0-alpha.0valid", "1.0.0-alpha-a.b-c-somethinglong+build.1-aef.1-its-okay", "1.0.0-rc.1+build.123", "2.0.0-rc.1+build.123",
		"1.2.3-SNAPSHOT-123", "2.0.1-alpha.1227", "1.0.0-alpha+beta", "1.2.3----RC-SNAPSHOT.12.9.1--.12+788", "1.0.0+0.build.1-rc.10000aaa-kk-0.1",
		"1.0.0-0A.is.legal",
	} {
		parse(t, s)
	}
	for _, s := range []string{
		"", "v", "vv1", "1.2.3.4", "1.2.3-0123", "1.2.3-0123.0123", "1.1.2+.123", "+invalid", "-invalid", "alpha", "alpha.beta", "1.0.0-alpha_beta",
		"1.0.0-alpha.", "1.0.0-alpha..", "1.0.0-alpha..1", "01.1.1", "1.01.1", "1.1.01", "1.2.3.DEV", "1.2.31.2.3----RC", "-1.0.3-gamma+b7718",
		"1.2.3+a+b", "1.2.3-", "1.2.3+", "1..3", "1.", ".1", " 1.2.3", "1.2.3 ", "1,2", "１.0.0", "1.0.0-" + strings.Repeat("a", 256),
	} {
		if v, ok := flyball.ParseVersion(s); ok {
			t.Errorf("%q is read as the version %+v", s, v)
		}
	}
}

func TestReadingAVersionDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		a, _ := flyball.ParseVersion("v2.13.0-rc.1+build")
		b, _ := flyball.ParseVersion("2.13.0")
		a.Compare(b)
	}); n > 0 {
		t.Errorf("it allocates %v times; rules do it on requests of users", n)
	}
}
