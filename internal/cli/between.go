package cli

import (
	"errors"

	"github.com/spf13/cobra"
)

// addBetween lets "change list" tell the changes that were made from one time to
// another, in place of those that wait: they stand in the audit log.
func (p *program) addBetween(list *cobra.Command) {
	from := list.Flags().String("between", "", "in place of those that wait: the changes that were made from one time on and before another, as --between A B")
	takesNone, listOpen := list.Args, list.RunE
	list.Use += " [--between A B]"
	list.Example += "\n  flyball change list --between 2026-11-21T18:00:00Z 2026-11-21T20:00:00Z"
	list.Args = func(c *cobra.Command, args []string) error {
		if !c.Flags().Changed("between") {
			return takesNone(c, args)
		}
		if len(args) != 1 || *from == "" {
			return usage{errors.New("--between takes two times: --between 2026-11-21T18:00:00Z 2026-11-21T20:00:00Z")}
		}
		return nil
	}
	list.RunE = func(c *cobra.Command, args []string) error {
		if !c.Flags().Changed("between") {
			return listOpen(c, args)
		}
		made := operation("list_audit")
		fields := map[string]any{"from": *from, "to": args[0]}
		for _, name := range []string{"all", "before", "limit"} {
			if f := c.Flags().Lookup(name); name == "limit" && f.Changed {
				fields[name], _ = c.Flags().GetInt64(name)
			} else if f.Changed {
				return usage{errors.New("--" + name + " is not for changes that were made")}
			}
		}
		answer, err := p.call(c.Context(), made, fields)
		if err != nil {
			return err
		}
		if err := p.answer(made, answer); err != nil {
			return err
		}
		p.tellMore(made, fields, answer)
		return nil
	}
}
