package cli

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/scan"
	"github.com/flyballdev/flyball/internal/service"
)

func (p *program) scanCommand() *cobra.Command {
	var known bool
	c := &cobra.Command{
		Use:   "scan [DIR]",
		Short: "Find the places in Go code that read flags",
		Long: "Reads the syntax trees of the Go files below a folder and lists where flags are read.\n" +
			"With --known the server is asked for its flags, whose keys are then found wherever they stand.",
		Example: "  flyball scan\n  flyball scan ./services --known -o json",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage{fmt.Errorf("\"%s\" takes one folder", c.CommandPath())}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			if info, err := os.Stat(dir); err != nil || !info.IsDir() {
				return usage{fmt.Errorf("%s is not a folder", dir)}
			}
			var keys []string
			if known {
				flags, err := invoke[service.Flags](c.Context(), p, "list_flags", nil)
				if err != nil {
					return err
				}
				for _, f := range flags.Flags {
					keys = append(keys, f.Key)
				}
			}
			found, err := scan.Find(c.Context(), os.DirFS(dir), keys)
			for _, problem := range flyball.Problems(err) {
				fmt.Fprintln(p.err, p.paint(yellow, "not read:"), problem)
			}
			if err != nil && len(flyball.Problems(err)) == 0 {
				return err
			}
			return p.printReferences(found)
		},
	}
	c.Flags().BoolVar(&known, "known", false, "find the keys of the server's flags wherever they stand")
	return c
}

func (p *program) printReferences(found []flyball.Reference) error {
	if p.output == "json" {
		if found == nil {
			found = []flyball.Reference{}
		}
		e := json.NewEncoder(p.out)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"references": found})
	}
	if len(found) == 0 {
		fmt.Fprintln(p.out, p.paint(faint, "none"))
		return nil
	}
	t := p.newTable()
	t.AppendHeader(table.Row{"FLAG", "PLACE"})
	for _, r := range found {
		t.AppendRow(table.Row{r.Flag, fmt.Sprintf("%s:%d", r.File, r.Line)})
	}
	t.Render()
	return nil
}
