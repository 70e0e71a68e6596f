package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/flyballdev/flyball/internal/api"
)

var client = &http.Client{Timeout: 60 * time.Second}

// call uses a capability of the server: fields go where the row says.
func (p *program) call(ctx context.Context, o api.Operation, fields map[string]any) (json.RawMessage, error) {
	r, err := api.NewRequest(ctx, p.server, o, fields, p.manner)
	if err != nil {
		return nil, p.noAddress()
	}
	return p.send(r)
}

// request sends a request and returns the answer's body; what is not a success
// is an [api.Problem].
func (p *program) request(ctx context.Context, method, target string, body io.Reader) (json.RawMessage, error) {
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, p.noAddress()
	}
	r.Header.Set("Content-Type", "application/json")
	return p.send(r)
}

func (p *program) send(r *http.Request) (json.RawMessage, error) {
	answer, err := p.do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode < 300 {
		p.made, p.review = parseVersions(answer.Header.Get(api.VersionsHeader)), answer.Header.Get(api.ReviewHeader)
	}
	return api.Answer(answer)
}

// toServer carries a request that names no server to the one that was named.
func (p *program) toServer(r *http.Request) (*http.Response, error) {
	server, err := url.Parse(p.server)
	if err != nil {
		return nil, p.noAddress()
	}
	r.URL.Scheme, r.URL.Host, r.Host = server.Scheme, server.Host, ""
	prefix := strings.TrimSuffix(server.Path, "/")
	if r.URL.RawPath != "" {
		r.URL.RawPath = prefix + r.URL.RawPath
	}
	r.URL.Path = prefix + r.URL.Path
	return p.do(r)
}

// do carries a request to the server.
func (p *program) do(r *http.Request) (*http.Response, error) {
	if p.token == "" {
		return nil, errNoToken
	}
	if !strings.HasPrefix(p.server, "http://") && !strings.HasPrefix(p.server, "https://") {
		return nil, p.noAddress()
	}
	r.Header.Set("Authorization", "Bearer "+p.token)
	answer, err := client.Do(r)
	if err != nil {
		return nil, p.noAnswer(err)
	}
	return answer, nil
}

var errNoToken = errors.New("no token: set FLYBALL_TOKEN, or give --token; the server printed one at its first start")

// noAnswer says more of a request that nobody answered.
func (p *program) noAnswer(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("no server answers at %s: start one with \"flyball serve\", or name another with --server", p.server)
	}
	return err
}

func (p *program) noAddress() error {
	return usage{fmt.Errorf("--server: %q is no address such as http://127.0.0.1:8080", p.server)}
}

// parseVersions reads the versions that a change made, by environment.
func parseVersions(header string) map[string]int64 {
	made := map[string]int64{}
	for part := range strings.SplitSeq(header, ", ") {
		env, version, ok := strings.Cut(part, "=")
		if n, err := strconv.ParseInt(version, 10, 64); ok && err == nil {
			made[env] = n
		}
	}
	return made
}

// operation returns a row by its name.
func operation(name string) api.Operation {
	for _, o := range api.Operations() {
		if o.Name == name {
			return o
		}
	}
	panic("there is no operation " + name)
}

// invoke uses a capability by its row's name and decodes the answer.
func invoke[Out any](ctx context.Context, p *program, name string, fields map[string]any) (out Out, err error) {
	answer, err := p.call(ctx, operation(name), fields)
	if err == nil {
		err = json.Unmarshal(answer, &out)
	}
	return out, err
}
