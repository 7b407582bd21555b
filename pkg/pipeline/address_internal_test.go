package pipeline

import (
	"net"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/config"
)

func TestWebhookURLNamesNoHostThatNobodyReaches(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:9900": "http://127.0.0.1:9900/s3/us",
		"0.0.0.0:9900":   "http://HOST:9900/s3/us",
		"[::]:9900":      "http://HOST:9900/s3/us",
	} {
		at, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&Pipeline{address: at}).WebhookURL(config.Replica{Name: "us", Provider: "s3"}); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
