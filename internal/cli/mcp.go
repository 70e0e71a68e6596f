package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/flyballdev/flyball/internal/api"
)

// mcpCommand serves the tools for agents to a client that starts this program.
func (p *program) mcpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "mcp",
		Short: "Serve the tools for agents on standard input and output",
		Long: "Speaks the Model Context Protocol on standard input and output, for clients that start a program.\n" +
			"The tools use the API of --server with the token of FLYBALL_TOKEN, and can do what that token may.\n" +
			"A client that speaks HTTP needs no program: the server has the same tools at /mcp.",
		Example: "  FLYBALL_TOKEN=fb_agent_… flyball mcp --server https://flyball.example.com",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if p.token == "" {
				return usage{fmt.Errorf("no token: set FLYBALL_TOKEN to an agent's token (flyball token create NAME --kind agent)")}
			}
			return api.ServeStdio(c.Context(), io.NopCloser(p.in), writeCloser{p.out}, p.toServer)
		},
	}
}

// writeCloser lets the client close what outlives it.
type writeCloser struct{ io.Writer }

func (writeCloser) Close() error { return nil }
