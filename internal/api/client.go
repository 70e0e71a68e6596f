package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// NewRequest makes the request that uses a capability: each field goes where its
// row says, and the manner of a change into the query.
func NewRequest(ctx context.Context, server string, o Operation, fields map[string]any, manner url.Values) (*http.Request, error) {
	path, query := o.Path, url.Values{}
	if o.Changes() {
		for name, values := range manner {
			query[name] = values
		}
	}
	rest := map[string]any{}
	for k, v := range fields {
		rest[k] = v
	}
	for _, name := range o.PathFields() {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(fmt.Sprint(rest[name])))
		delete(rest, name)
	}
	var body io.Reader
	if o.HasBody() {
		encoded, err := json.Marshal(rest)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(encoded)
	} else {
		for k, v := range rest {
			query.Set(k, fmt.Sprint(v))
		}
	}
	target := strings.TrimSuffix(server, "/") + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, o.Method, target, body)
	if err == nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, err
}

// A Doer carries a request to a server and brings its answer: by the network, or
// within the server itself.
type Doer func(*http.Request) (*http.Response, error)

// maxAnswer is how many bytes of an answer are read.
const maxAnswer = 256 << 20

// Answer reads an answer; what is no success is a [Problem].
func Answer(resp *http.Response) (json.RawMessage, error) {
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return content, nil
	}
	problem := &Problem{Status: resp.StatusCode, Detail: resp.Status}
	if err := json.Unmarshal(content, problem); err != nil {
		problem.Detail = resp.Status
	}
	return nil, problem
}

// use uses a capability through a doer, and decodes what it answers.
func (do Doer) use(ctx context.Context, name string, fields map[string]any, manner url.Values, into any) error {
	for _, o := range operations {
		if o.Name == name {
			r, err := NewRequest(ctx, "http://flyball", o, fields, manner)
			if err != nil {
				return err
			}
			return do.send(r, into)
		}
	}
	return errors.New("there is no capability " + name)
}

func (do Doer) send(r *http.Request, into any) error {
	resp, err := do(r)
	if err != nil {
		return err
	}
	body, err := Answer(resp)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}
