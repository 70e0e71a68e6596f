package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/danielgtaylor/huma/v2"
	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/flyballdev/flyball/internal/api"
)

// addRow adds the command of a row: what it takes by position stands in its
// use line, every other field of its input is a flag.
func (p *program) addRow(root *cobra.Command, o api.Operation) {
	parent, verb := root, o.Command
	if n, v, ok := strings.Cut(o.Command, " "); ok {
		parent, verb = noun(root, n), v
	}
	c := &cobra.Command{
		Use:     strings.TrimSpace(verb + " " + takes(o)),
		Short:   strings.TrimSuffix(o.Summary, "."),
		Example: "  flyball " + strings.TrimSpace(o.Command+" "+o.Example),
		Args: func(c *cobra.Command, args []string) error {
			if n := len(args) - len(o.Args); n == 0 || n == 1 && o.Maybe != "" {
				return nil
			}
			return usage{fmt.Errorf("\"%s\" takes %s\nsee \"%s --help\"", c.CommandPath(), position(o), c.CommandPath())}
		},
		ValidArgsFunction: p.completeArg(o),
	}
	if verb == "get" {
		c.Aliases = []string{"show"}
	}
	c.RunE = p.addRowFlags(c, o)
	parent.AddCommand(c)
}

// addRowFlags adds the flags of a row's command, and returns what runs it.
func (p *program) addRowFlags(c *cobra.Command, o api.Operation) func(*cobra.Command, []string) error {
	f := c.Flags()
	f.SortFlags = false
	var file string
	if o.HasBody() && len(o.Schema().Properties) > len(o.Args)+2 {
		f.StringVarP(&file, "file", "f", "", "read fields from a YAML or JSON file; - is standard input")
	}
	for _, name := range fieldNames(o) {
		addFlag(f, name, o.Schema().Properties[name], slices.Contains(o.Schema().Required, name))
	}
	for _, name := range fieldNames(o) {
		if allowed := words(o.Schema().Properties[name]); len(allowed) > 0 {
			c.RegisterFlagCompletionFunc(kebab(name), cobra.FixedCompletions(allowed, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	if f.Lookup("environment") != nil {
		c.RegisterFlagCompletionFunc("environment", p.completeKeys("list_environments", "environments"))
	}
	var wait waiting
	addManners(f, o)
	if o.Changes() && !o.Still {
		wait.flags(f)
	}
	return func(c *cobra.Command, args []string) error {
		fields, err := p.fields(o, f, file, args)
		if err != nil {
			return err
		}
		p.manner = mannerOf(f, o)
		answer, err := p.call(c.Context(), o, fields)
		if err != nil {
			return err
		}
		made := p.made
		if p.plans() {
			return p.printPlanned(answer)
		}
		if err := p.answer(o, answer); err != nil {
			return err
		}
		p.tellMore(o, fields, answer)
		p.tellBroken()
		return p.waitForFleet(c.Context(), wait, made)
	}
}

func position(o api.Operation) string {
	if takes(o) == "" {
		return "no argument"
	}
	return takes(o)
}

// takes names what a command takes by position.
func takes(o api.Operation) string {
	args := strings.ToUpper(strings.Join(o.Args, " "))
	if o.Maybe != "" {
		args += " [" + strings.ToUpper(o.Maybe) + "]"
	}
	return strings.TrimSpace(args)
}

// fieldNames are the fields that are flags, in the order of the input's type.
func fieldNames(o api.Operation) []string {
	var names []string
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for i := range t.NumField() {
			field := t.Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			switch {
			case field.Anonymous && name == "":
				walk(field.Type)
			case name != "" && name != "-" && !slices.Contains(o.Args, name) && !slices.Contains(names, name):
				names = append(names, name)
			}
		}
	}
	walk(o.In)
	return names
}

var shorthands = map[string]string{"environment": "e", "reason": "r"}

func addFlag(f *pflag.FlagSet, name string, s *huma.Schema, required bool) {
	about := s.Description
	if len(s.Enum) > 0 {
		about += ": " + strings.Join(words(s), ", ")
	}
	if required {
		about += " (required)"
	}
	if len(s.Examples) > 0 {
		about += ", such as " + example(s.Examples[0])
	}
	about = strings.TrimPrefix(strings.TrimSpace(strings.ReplaceAll(about, "`", "'")), ", ")
	switch flag := kebab(name); s.Type {
	case huma.TypeBoolean:
		f.BoolP(flag, shorthands[name], false, about)
	case huma.TypeInteger:
		f.Int64P(flag, shorthands[name], 0, about)
	case huma.TypeString:
		f.StringP(flag, shorthands[name], "", about)
	case huma.TypeArray:
		if s.Items != nil && s.Items.Type == huma.TypeString {
			f.StringSliceP(flag, shorthands[name], nil, about)
			return
		}
		f.StringP(flag, shorthands[name], "", about+" (YAML)")
	case huma.TypeNumber:
		f.Float64P(flag, shorthands[name], 0, about)
	default:
		f.StringP(flag, shorthands[name], "", about+" (YAML)")
	}
}

// example writes a value as a flag takes it.
func example(v any) string {
	if list, ok := v.([]string); ok {
		return strings.Join(list, ",")
	}
	if text, ok := v.(string); ok {
		return text
	}
	return inWords(v)
}

// words are what a field may be, if it is one of a few.
func words(s *huma.Schema) []string {
	var all []string
	for _, v := range s.Enum {
		all = append(all, fmt.Sprint(v))
	}
	return all
}

// kebab writes a field's name as a flag: approvalTTL is approval-ttl.
func kebab(name string) string {
	var b strings.Builder
	last := ' '
	for _, r := range name {
		if unicode.IsUpper(r) && !unicode.IsUpper(last) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
		last = r
	}
	return b.String()
}

// fields gathers the input of a row from its file, its flags and its
// arguments; the later ones win.
func (p *program) fields(o api.Operation, f *pflag.FlagSet, file string, args []string) (map[string]any, error) {
	fields := map[string]any{}
	if file != "" {
		content, err := p.read(file)
		if err != nil {
			return nil, err
		}
		if err := fromYAML(content, &fields); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	for _, name := range fieldNames(o) {
		flag := f.Lookup(kebab(name))
		if !flag.Changed {
			continue
		}
		v, err := flagValue(f, flag, o.Schema().Properties[name])
		if err != nil {
			return nil, usage{fmt.Errorf("--%s: %w", flag.Name, err)}
		}
		fields[name] = v
	}
	for i, name := range append(slices.Clip(o.Args), o.Maybe)[:len(args)] {
		if v, ok := fields[name]; ok && v != args[i] && !o.SamePerson(name, v, args[i]) {
			return nil, usage{fmt.Errorf("%s: %s: the file says %v and the command %q", file, name, v, args[i])}
		}
		fields[name] = args[i]
		if o.Schema().Properties[name].Type == huma.TypeInteger {
			n, err := strconv.ParseInt(args[i], 10, 64)
			if err != nil {
				return nil, usage{fmt.Errorf("%s: %q is not a whole number", strings.ToUpper(name), args[i])}
			}
			fields[name] = n
		}
	}
	return fields, nil
}

func (p *program) read(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(p.in)
	}
	return os.ReadFile(file)
}

func flagValue(f *pflag.FlagSet, flag *pflag.Flag, s *huma.Schema) (any, error) {
	text := flag.Value.String()
	switch flag.Value.Type() {
	case "bool":
		return strconv.ParseBool(text)
	case "int64":
		return strconv.ParseInt(text, 10, 64)
	case "float64":
		return strconv.ParseFloat(text, 64)
	case "stringSlice":
		return f.GetStringSlice(flag.Name)
	}
	if s.Type == huma.TypeString {
		return text, nil
	}
	var v any
	err := fromYAML([]byte(text), &v)
	return v, err
}

// fromYAML decodes YAML 1.2 as if it were JSON, so that files and requests
// obey the same rules.
func fromYAML(content []byte, into any) error {
	encoded, err := yaml.YAMLToJSON(content)
	if err != nil {
		return fmt.Errorf("not YAML: %s", yaml.FormatError(err, false, false))
	}
	d := json.NewDecoder(strings.NewReader(string(encoded)))
	d.UseNumber()
	return d.Decode(into)
}

// completeArg offers the keys that a command's first argument can be.
func (p *program) completeArg(o api.Operation) cobra.CompletionFunc {
	list := map[string]string{"flag": "flags", "rule": "flags", "segment": "segments", "metric": "metrics", "environment": "environments", "team": "teams", "token": "tokens", "webhook": "webhooks", "change": "changes"}
	n, verb, _ := strings.Cut(o.Command, " ")
	switch {
	case n == "evaluate":
		return p.completeKeys("list_flags", "flags")
	case n == "rollout" && len(o.Args) > 0 && o.Args[0] == "id":
		return p.completeKeys("list_rollouts", "rollouts")
	case verb == "create" || list[n] == "" || takes(o) == "":
		return cobra.NoFileCompletions
	}
	return p.completeKeys("list_"+list[n], list[n])
}

// completeKeys offers the keys, or ids, of what a row lists.
func (p *program) completeKeys(row, field string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if p.token == "" {
			p.token = p.env("FLYBALL_TOKEN")
		}
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		found, err := invoke[map[string][]struct{ Key, ID, Flag string }](c.Context(), p, row, nil)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var keys []string
		for _, item := range found[field] {
			key := item.Key + item.Flag
			if key == "" {
				key = item.ID
			}
			if strings.HasPrefix(key, prefix) && !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
		return keys, cobra.ShellCompDirectiveNoFileComp
	}
}

func upperSnake(flag string) string { return strings.ToUpper(strings.ReplaceAll(flag, "-", "_")) }
