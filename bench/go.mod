module github.com/flyballdev/flyball/bench

go 1.26.8

replace github.com/flyballdev/flyball => ../

require (
	github.com/flyballdev/flyball v0.0.0
	github.com/open-feature/go-sdk v1.20.0
)

require go.uber.org/mock v0.6.0 // indirect
