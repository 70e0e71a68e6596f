package flagd

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// A codec writes and reads the few messages of the sync protocol, flagd.sync.v1
// in protocol buffers. They are so small that generated code would be longer;
// and a document is sent to all who want it without a copy.
type codec struct{}

// A request is SyncFlagsRequest, FetchAllFlagsRequest or GetMetadataRequest:
// what a caller says of itself (1) and what it selects (2) decides nothing,
// since its token says which environment and which flags it sees.
type request struct{}

// A response is one field, of bytes: flag_configuration (1) of
// SyncFlagsResponse and FetchAllFlagsResponse, metadata (2) of
// GetMetadataResponse, an empty Struct.
type response struct {
	field protowire.Number
	body  []byte
}

// Name is that of the codec it stands in for.
func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	r, ok := v.(*response)
	if !ok {
		return nil, fmt.Errorf("marshal a %T", v)
	}
	head := protowire.AppendVarint(protowire.AppendTag(nil, r.field, protowire.BytesType), uint64(len(r.body)))
	return mem.BufferSlice{mem.SliceBuffer(head), mem.SliceBuffer(r.body)}, nil
}

// Unmarshal checks that a request is well-formed.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	if _, ok := v.(*request); !ok {
		return fmt.Errorf("unmarshal into a %T", v)
	}
	for rest := data.Materialize(); len(rest) > 0; {
		_, _, n := protowire.ConsumeField(rest)
		if n < 0 {
			return protowire.ParseError(n)
		}
		rest = rest[n:]
	}
	return nil
}
