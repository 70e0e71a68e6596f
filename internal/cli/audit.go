package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flyballdev/flyball/internal/api"
	"github.com/flyballdev/flyball/internal/chain"
	"github.com/flyballdev/flyball/internal/service"
)

// A proofOf is what "audit verify" is asked for.
type proofOf struct {
	file, checkpoint, key string
}

func (p *program) verifyAuditCommand() *cobra.Command {
	var of proofOf
	c := &cobra.Command{
		Use:   "verify",
		Short: "Prove that the audit log is what was written",
		Long: "Goes through the audit log, entry by entry, and proves that none was edited, taken out,\n" +
			"put elsewhere or cut off. Who can write to the database could write the whole log anew;\n" +
			"a checkpoint that was kept elsewhere shows that too.\n" +
			"With --file it proves an export, and needs no server. The exit code is 1 at a break.",
		Example: "  flyball audit verify\n  flyball audit verify --checkpoint checkpoint.json\n" +
			"  flyball audit verify --file audit.ndjson --checkpoint checkpoint.json --public-key key.yaml",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.verifyAudit(c.Context(), of) },
	}
	f := c.Flags()
	f.StringVar(&of.file, "file", "", "prove an export rather than the server's log; - is standard input")
	f.StringVar(&of.checkpoint, "checkpoint", "", "a checkpoint, as \"flyball audit checkpoint\" printed it, with which the log must agree")
	f.StringVar(&of.key, "public-key", "", "the key that signed the checkpoint, or a file with it (default: the server's own)")
	return c
}

func (p *program) verifyAudit(ctx context.Context, of proofOf) error {
	var signed *chain.Checkpoint
	if of.checkpoint != "" {
		c, err := p.readCheckpoint(ctx, of)
		if err != nil {
			return err
		}
		signed = &c
	}
	if of.key != "" && signed == nil {
		return usage{errors.New("--public-key checks a --checkpoint: give both")}
	}
	var out proved
	var err error
	if of.file != "" {
		out, err = p.proveFile(of.file, signed)
	} else {
		out, err = p.proveServer(ctx, signed)
	}
	p.progress("")
	if err != nil {
		return err
	}
	return p.printProved(out)
}

// A proved log is what "audit verify" tells.
type proved struct {
	service.Proof
	After      int64             `json:"after,omitempty"` // the entries up to this one were not there to be proved
	Checkpoint *chain.Checkpoint `json:"checkpoint,omitempty"`
}

func (p *program) printProved(out proved) error {
	out.Intact = out.Broken == nil
	if p.output == "json" {
		body, err := json.Marshal(out)
		if err == nil {
			err = p.printJSON(body)
		}
		if err != nil {
			return err
		}
	} else if out.Intact {
		fmt.Fprintf(p.out, "%s %d entries, from %d to %d, hash %s\n", p.paint(green, "intact:"), out.Entries, out.After+1, out.Seq, plain(out.Hash))
		if c := out.Checkpoint; c != nil {
			fmt.Fprintf(p.out, "it agrees with the checkpoint of entry %d, signed %s by the key %s\n", c.Seq, c.At.Local().Format(time.DateTime), c.Key)
		} else {
			fmt.Fprintln(p.err, p.paint(faint, "without a checkpoint that was kept elsewhere, a log that was written anew as a whole would look the same"))
		}
	}
	if out.Intact {
		return nil
	}
	fmt.Fprintln(p.err, p.paint(red, "broken:"), plain(out.Broken.Error()))
	return exit(exitError)
}

// readCheckpoint reads a checkpoint and checks its signature.
func (p *program) readCheckpoint(ctx context.Context, of proofOf) (c chain.Checkpoint, err error) {
	content, err := p.read(of.checkpoint)
	if err != nil {
		return c, err
	}
	if err := fromYAML(content, &c); err != nil {
		return c, fmt.Errorf("%s: %w", of.checkpoint, err)
	}
	key, err := p.publicKey(ctx, of)
	if err != nil {
		return c, err
	}
	return c, c.Verify(key)
}

// publicKey returns the key that is given, or the server's.
func (p *program) publicKey(ctx context.Context, of proofOf) (ed25519.PublicKey, error) {
	switch {
	case of.key != "":
		if content, err := os.ReadFile(of.key); err == nil {
			var printed service.AuditKey // as "audit key" does
			if fromYAML(content, &printed) != nil || printed.PublicKey == "" {
				printed.PublicKey = string(content)
			}
			of.key = printed.PublicKey
		}
		return chain.ParseKey(of.key)
	case of.file != "":
		return nil, usage{errors.New("--public-key is needed with --file and --checkpoint: a checkpoint cannot vouch for itself; \"flyball audit key\" prints it")}
	}
	own, err := invoke[service.AuditKey](ctx, p, "get_audit_key", nil)
	if err != nil {
		return nil, err
	}
	return chain.ParseKey(own.PublicKey)
}

// provedPerRequest is how many entries a server is asked to prove at a time.
const provedPerRequest = 50_000

// proveServer lets the server prove its log, piece by piece, and compares what
// it finds at the checkpoint.
func (p *program) proveServer(ctx context.Context, signed *chain.Checkpoint) (out proved, err error) {
	for {
		ask := map[string]any{"limit": provedPerRequest}
		if out.Seq > 0 {
			ask["after"], ask["hash"] = out.Seq, out.Hash
		}
		if signed != nil && signed.Seq > out.Seq {
			ask["limit"] = min(provedPerRequest, signed.Seq-out.Seq)
		}
		piece, err := invoke[service.Proof](ctx, p, "verify_audit", ask)
		if err != nil {
			return out, err
		}
		piece.Entries += out.Entries
		out.Proof = piece
		if signed != nil {
			out.check(*signed)
		}
		if out.Broken != nil || !piece.More {
			return out, nil
		}
		p.progress(fmt.Sprintf("%d of %d entries", out.Seq, out.Head))
	}
}

// check compares what was proved until now with a checkpoint.
func (o *proved) check(signed chain.Checkpoint) {
	ended := !o.More && o.Seq < signed.Seq
	switch {
	case o.Installation != "" && o.Installation != signed.Installation:
		o.Broken = &chain.Break{Seq: 1, Kind: chain.Foreign, Why: "the log is of the installation " + o.Installation + ", and the checkpoint of " + signed.Installation}
	case o.Broken == nil && (o.Seq == signed.Seq || ended):
		if o.Broken = signed.Agrees(chain.Walk{Seq: o.Seq, Hash: o.Hash}); o.Broken == nil {
			o.Checkpoint = &signed
		}
	}
}

// maxLine is how long an entry may be: what files can change, before and after.
const maxLine = 256 << 20

// proveFile proves an export.
func (p *program) proveFile(file string, signed *chain.Checkpoint) (out proved, err error) {
	in := io.Reader(p.in)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return out, err
		}
		defer f.Close()
		in = f
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<20), maxLine)
	var w chain.Walk
	if signed != nil {
		w.Hash = chain.Genesis(signed.Installation)
	}
	for n := 1; lines.Scan() && out.Broken == nil; n++ {
		body, hash, ok := chain.Parse(lines.Bytes())
		seq, numbered := chain.SeqOf(body)
		if !ok || !numbered {
			return out, fmt.Errorf("%s: line %d is not an entry as \"flyball audit export\" writes it", file, n)
		}
		if n == 1 && (seq > 1 || signed == nil) { // what comes before is not here to be proved
			out.After, w = seq-1, chain.Walk{Seq: seq - 1, Hash: prevOf(body)}
		}
		if out.Broken = w.Next(seq, body, hash); out.Broken == nil {
			out.Entries++
			out.Seq, out.Hash, out.Head = w.Seq, w.Hash, w.Seq
			out.More = signed != nil && w.Seq < signed.Seq
			if signed != nil && w.Seq == signed.Seq {
				out.check(*signed)
			}
		}
		if n%20_000 == 0 {
			p.progress(fmt.Sprintf("%d entries", out.Entries))
		}
	}
	if err := lines.Err(); err != nil {
		return out, fmt.Errorf("%s: %w", file, err)
	}
	if out.More = false; signed != nil && out.Broken == nil && out.Checkpoint == nil {
		out.check(*signed)
		if out.After >= signed.Seq {
			return out, fmt.Errorf("%s begins after entry %d, which the checkpoint is of: give an export that holds it", file, signed.Seq)
		}
	}
	return out, nil
}

// prevOf returns the hash that a body says the entry before it has.
func prevOf(body []byte) string {
	_, rest, _ := bytes.Cut(body[max(0, len(body)-200):], []byte(`,"prev":"`))
	return strings.TrimSuffix(string(rest), `"}`)
}

// progress tells how far something is, in a line that is written over, where
// people read along.
func (p *program) progress(line string) {
	if f, ok := p.err.(*os.File); ok && isTerminal(f) {
		fmt.Fprintf(p.err, "\r\x1b[K%s", line)
	}
}

func (p *program) exportAuditCommand() *cobra.Command {
	var after int64
	c := &cobra.Command{
		Use:   "export",
		Short: "Write the audit log to standard output, an entry a line",
		Long: "Writes the audit log as it was written, one JSON object a line, with the hashes by which\n" +
			"\"flyball audit verify --file\" proves it without a server.\n" +
			"An export that broke off, or that is to be added to, goes on with --after.",
		Example: "  flyball audit export > audit.ndjson\n  flyball audit export --after 1041 >> audit.ndjson",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if after < 0 {
				return usage{errors.New("--after is the number of an entry")}
			}
			return p.exportAudit(c.Context(), after)
		},
	}
	c.Flags().Int64Var(&after, "after", 0, "only entries after this one")
	return c
}

// exportAudit copies whole lines only, so that an export that broke off can be
// added to.
func (p *program) exportAudit(ctx context.Context, after int64) error {
	answer, err := p.open(ctx, fmt.Sprintf("/api/v1/audit/export?after=%d", after))
	if err != nil {
		return err
	}
	defer answer.Close()
	lines := bufio.NewReaderSize(answer, 1<<20)
	for n := 0; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the export broke off after entry %d; go on with \"flyball audit export --after %d\": %w", after, after, err)
		}
		if _, err := p.out.Write(line); err != nil {
			return err
		}
		if seq, ok := chain.SeqOf(line); ok {
			after = seq
		}
		if n%20_000 == 19_999 {
			p.progress(fmt.Sprintf("entry %d", after))
		}
	}
}

// open begins to read an answer of any length.
func (p *program) open(ctx context.Context, path string) (io.ReadCloser, error) {
	if p.token == "" {
		return nil, errNoToken
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(p.server, "/")+path, nil)
	if err != nil {
		return nil, p.noAddress()
	}
	r.Header.Set("Authorization", "Bearer "+p.token)
	answer, err := new(http.Client).Do(r)
	if err != nil {
		return nil, p.noAnswer(err)
	}
	if answer.StatusCode >= 300 {
		_, err := api.Answer(answer)
		return nil, err
	}
	return answer.Body, nil
}
