//go:build ignore

// A Go program that evaluates in its own memory through OpenFeature, and tells
// how it went. The provider sends exposures by itself.
//
//	FLYBALL_SERVER=http://127.0.0.1:8080 FLYBALL_TOKEN=fb_sdk_… go run docs/examples/go/main.go user-1
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/open-feature/go-sdk/openfeature"

	"github.com/flyballdev/flyball/provider"
)

func main() {
	ctx := context.Background()
	p, err := provider.New(provider.Options{
		Server: os.Getenv("FLYBALL_SERVER"), Token: os.Getenv("FLYBALL_TOKEN"), Service: "example-go", ServiceVersion: "1.0.0",
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := openfeature.SetProviderWithContextAndWait(ctx, p); err != nil {
		log.Fatal(err)
	}
	defer openfeature.Shutdown() // sends what has not been sent

	user := openfeature.NewEvaluationContext(os.Args[1], map[string]any{"plan": "pro"})
	client := openfeature.NewClient("example")
	fast, err := client.BooleanValueDetails(ctx, "shop.checkout.fast", false, user)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("fast: %t (%s, %s)\n", fast.Value, fast.Variant, fast.Reason)
	client.Track(ctx, "shop.checkout.errors", user, openfeature.NewTrackingEventDetails(0)) // it went well
}
