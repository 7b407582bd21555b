package env_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
)

func TestDuration(t *testing.T) {
	for value, want := range map[string]time.Duration{"": 0, "90m": 90 * time.Minute, "1h30m": 90 * time.Minute, "1ms": time.Millisecond} {
		if got, err := env.Duration(func(string) string { return value }, env.SNSMaxAge); err != nil || got != want {
			t.Errorf("%q: %s, %v", value, got, err)
		}
	}
	for _, value := range []string{"0", "0s", "-1h", "90", "an hour", " 1h"} {
		_, err := env.Duration(func(string) string { return value }, env.SNSMaxAge)
		if !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), env.SNSMaxAge) {
			t.Errorf("%q: %v", value, err)
		}
	}
}
