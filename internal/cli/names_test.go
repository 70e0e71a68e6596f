package cli

import (
	"regexp"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Each command says what it is for, and each flag is written as a person would.
func TestEachCommandSaysWhatItIsForAndItsFlagsAreWords(t *testing.T) {
	letters := regexp.MustCompile(`(^|-)[a-z](-[a-z])+(-|$)`)
	p := &program{env: func(string) string { return "" }}
	commands, flags := 0, 0
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if commands++; c.Short == "" {
			t.Errorf("%q does not say what it is for", c.CommandPath())
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if flags++; letters.MatchString(f.Name) || f.Usage == "" {
				t.Errorf("%s --%s: %q", c.CommandPath(), f.Name, f.Usage)
			}
		})
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(p.root())
	if commands < 50 || flags < 200 {
		t.Errorf("only %d commands and %d flags", commands, flags)
	}
}
