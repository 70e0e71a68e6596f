package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/flyballdev/flyball/internal/api"
)

func (p *program) exportFlagdCommand() *cobra.Command {
	var environment string
	var explain bool
	c := &cobra.Command{
		Use:   "export-flagd -e ENVIRONMENT",
		Short: "Print a ruleset as flagd's programs read it",
		Long: "Prints the document that flagd's in-process providers evaluate: each flag of it\n" +
			"serves what it serves here. Flags that flagd cannot express are not in it, and\n" +
			"--explain lists them with the reason in place of the document.",
		Example: "  flyball flag export-flagd -e production > flags.json\n  flyball flag export-flagd -e production --explain",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if environment == "" {
				return usage{errors.New("--environment is required")}
			}
			export, err := invoke[api.FlagdExport](c.Context(), p, "export_flagd", map[string]any{"environment": environment})
			if err != nil {
				return err
			}
			if !explain {
				if n := len(export.Skipped); n > 0 {
					fmt.Fprintf(p.err, "%s %d flags left out: --explain tells why\n", p.paint(yellow, "note:"), n)
				}
				return p.printJSON(export.Document)
			}
			if p.output == "json" {
				skipped, err := json.Marshal(export.Skipped)
				if err != nil {
					return err
				}
				return p.printJSON(skipped)
			}
			for _, s := range export.Skipped {
				fmt.Fprintf(p.out, "%s\n  %s\n", p.paint(bold, s.Flag), s.Why)
			}
			if len(export.Skipped) == 0 {
				fmt.Fprintln(p.out, p.paint(green, "flagd can express every flag"))
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&environment, "environment", "e", "", "where (required), such as production")
	f.BoolVar(&explain, "explain", false, "list what is left out, and why")
	c.RegisterFlagCompletionFunc("environment", p.completeKeys("list_environments", "environments"))
	return c
}
