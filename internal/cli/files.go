package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/api"
)

// folders are where files of each noun lie below the folder that is applied;
// teams stand together in teams.yaml.
var folders = []string{"segments", "metrics", "flags"}

const teamsFile = "teams.yaml"

func (p *program) applyCommand() *cobra.Command {
	var dir, reason string
	var wait waiting
	c := &cobra.Command{
		Use:   "apply -f DIR",
		Short: "Make a folder of YAML files true, all or nothing",
		Long: "Creates and updates the flags, segments, metrics and teams that the files name:\n" +
			"flags/KEY.yaml, segments/KEY.yaml, metrics/KEY.yaml and teams.yaml.\n" +
			"What no file names is left alone. Kills and rollouts are never touched.\n" +
			"The difference is shown first; with --dry-run it is all that happens.",
		Example: "  flyball apply -f flags/ --dry-run\n  flyball apply -f flags/ --reason 'release 1.4'",
		Args:    noArgs,
	}
	f := c.Flags()
	f.StringVarP(&dir, "file", "f", ".", "the folder")
	f.StringVarP(&reason, "reason", "r", "", "why (required, save for a dry run)")
	addManners(f, operation("apply"))
	wait.flags(f)
	c.RunE = func(c *cobra.Command, _ []string) error {
		files, err := readFiles(dir)
		if err != nil {
			return err
		}
		p.manner = mannerOf(f, operation("apply"))
		if err := inFiles(p.apply(c, files, reason), dir, files); err != nil || p.plans() {
			return err
		}
		return p.waitForFleet(c.Context(), wait, p.made)
	}
	return c
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage{fmt.Errorf("\"%s\" takes no argument %q\nsee \"%s --help\"", c.CommandPath(), args[0], c.CommandPath())}
	}
	return nil
}

func (p *program) apply(c *cobra.Command, files map[string]any, reason string) error {
	request, manner := maps.Clone(files), p.manner
	dry := manner.Has("dryRun")
	if request["reason"] = reason; reason == "" {
		if !dry {
			return usage{errors.New("--reason: say why")}
		}
		request["reason"] = "a dry run"
	}
	if dry || p.output == "table" { // the difference comes first
		p.manner = dryRun
		answer, err := p.call(c.Context(), operation("apply"), request)
		if err != nil {
			return err
		}
		if dry && p.output == "json" {
			return p.printJSON(answer)
		}
		var plan flyball.Plan
		if err := json.Unmarshal(answer, &plan); err != nil {
			return err
		}
		p.printEdits(plan.Edits)
		if dry && len(plan.Edits) > 0 {
			p.printJudgement(plan)
			fmt.Fprintln(p.out, p.paint(faint, "nothing was changed: this was a dry run"))
		}
		if dry || len(plan.Edits) == 0 {
			return nil
		}
	}
	p.manner = manner
	answer, err := p.call(c.Context(), operation("apply"), request)
	if err != nil {
		return err
	}
	if p.plans() {
		return p.printPlanned(answer)
	}
	if p.output == "json" {
		return p.printJSON(answer)
	}
	p.tellBroken()
	for _, env := range slices.Sorted(maps.Keys(p.made)) {
		fmt.Fprintf(p.out, "%s is at version %d\n", env, p.made[env])
	}
	return nil
}

var inFile = regexp.MustCompile(`^(flags|segments|metrics)\[("?)([^"\]]+)"?\]\.?`)

// inFiles names files where a refusal names fields of the request.
func inFiles(err error, dir string, files map[string]any) error {
	problem, ok := errors.AsType[*api.Problem](err)
	if !ok {
		return err
	}
	name := func(field string) string {
		m := inFile.FindStringSubmatch(field)
		if m == nil {
			return field
		}
		noun, quoted, key := m[1], m[2], m[3]
		if all, ok := files[noun].([]any); ok && quoted == "" {
			if i, err := strconv.Atoi(key); err == nil && i < len(all) {
				key = fmt.Sprint(all[i].(map[string]any)["key"])
			}
		}
		return strings.TrimSuffix(filepath.Join(dir, noun, key+".yaml")+": "+field[len(m[0]):], ": ")
	}
	for i, e := range problem.Errors {
		problem.Detail = strings.ReplaceAll(problem.Detail, e.Field, name(e.Field))
		problem.Errors[i].Field = name(e.Field)
	}
	return problem
}

// readFiles reads a folder into the fields of the apply capability. The name
// of a file is the key of what it holds.
func readFiles(dir string) (map[string]any, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, usage{fmt.Errorf("-f: %s is not a folder", dir)}
	}
	files, found := map[string]any{}, false
	for _, noun := range folders {
		var all []any
		paths, err := filepath.Glob(filepath.Join(dir, noun, "*.yaml"))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			one := map[string]any{}
			if err := readYAML(path, &one); err != nil {
				return nil, err
			}
			name := strings.TrimSuffix(filepath.Base(path), ".yaml")
			if key, ok := one["key"]; ok && key != name {
				return nil, fmt.Errorf("%s: key: the file is named %q and holds %q: they must agree", path, name, key)
			}
			one["key"] = name
			all = append(all, one)
		}
		if len(all) > 0 {
			files[noun], found = all, true
		}
	}
	var teams []any
	if err := readYAML(filepath.Join(dir, teamsFile), &teams); err == nil {
		files["teams"], found = teams, true
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if !found {
		return nil, usage{fmt.Errorf("-f: %s holds none of flags/*.yaml, segments/*.yaml, metrics/*.yaml and teams.yaml", dir)}
	}
	return files, nil
}

func readYAML(path string, into any) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := fromYAML(content, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// printEdits shows what changes, line by line.
func (p *program) printEdits(edits []flyball.Edit) {
	if len(edits) == 0 {
		fmt.Fprintln(p.out, p.paint(faint, "no difference"))
		return
	}
	for _, e := range edits {
		title := e.Noun + " " + e.Key
		if e.Environment != "" {
			title += " in " + e.Environment
		}
		fmt.Fprintln(p.out, p.paint(bold, title))
		before, after := lines(e.Before), lines(e.After)
		for _, path := range slices.Sorted(maps.Keys(union(before, after))) {
			b, hadB := before[path]
			a, hasA := after[path]
			if hadB && (!hasA || a != b) {
				fmt.Fprintln(p.out, p.paint(red, "  - "+plain(path+": "+b)))
			}
			if hasA && (!hadB || a != b) {
				fmt.Fprintln(p.out, p.paint(green, "  + "+plain(path+": "+a)))
			}
		}
	}
}

func union(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// lines flattens JSON into paths and their values.
func lines(body json.RawMessage) map[string]string {
	flat := map[string]string{}
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if len(body) == 0 || d.Decode(&v) != nil {
		return flat
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, item := range v {
				walk(strings.TrimPrefix(path+"."+k, "."), item)
			}
		case []any:
			for i, item := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), item)
			}
		default:
			flat[path] = fmt.Sprint(v)
		}
	}
	walk("", v)
	return flat
}

func (p *program) exportCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:     "export -d DIR",
		Short:   "Write flags, segments, metrics and teams as YAML files",
		Long:    "Writes the files that \"flyball apply\" reads; applying them changes nothing.",
		Example: "  flyball export -d config/",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			answer, err := p.call(c.Context(), operation("export"), nil)
			if err != nil {
				return err
			}
			if p.output == "json" {
				return p.printJSON(answer)
			}
			return p.writeFiles(dir, answer)
		},
	}
	c.Flags().StringVarP(&dir, "dir", "d", ".", "the folder, made if it is not there")
	return c
}

func (p *program) writeFiles(dir string, answer json.RawMessage) error {
	var files map[string][]json.RawMessage
	if err := json.Unmarshal(answer, &files); err != nil {
		return err
	}
	written := 0
	for _, noun := range folders {
		for _, body := range files[noun] {
			var it struct{ Key string }
			if err := json.Unmarshal(body, &it); err != nil {
				return err
			}
			if err := writeYAML(filepath.Join(dir, noun, it.Key+".yaml"), body); err != nil {
				return err
			}
			written++
		}
	}
	if teams := files["teams"]; len(teams) > 0 {
		body, err := json.Marshal(teams)
		if err != nil {
			return err
		}
		if err := writeYAML(filepath.Join(dir, teamsFile), body); err != nil {
			return err
		}
		written++
	}
	fmt.Fprintf(p.out, "%d files in %s\n", written, dir)
	return nil
}

func writeYAML(path string, body []byte) error {
	content, err := yaml.JSONToYAML(body)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}
