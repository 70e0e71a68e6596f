//go:build !linux

package cli

func unmapCode() {}
