package env_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
)

// The last words of a program are what Knative says of a Service that is not ready.
func TestMissingDocumentSaysWhatToDo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "group.yaml")
	_, err := env.Group(func(string) string { return path }, config.Options{})
	if !errkind.Is(err, errkind.NotFound) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "ConfigMap bucketmesh-group") {
		t.Errorf("%v", err)
	}
	_, err = env.Group(func(string) string { return "" }, config.Options{})
	if !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), env.Config) {
		t.Errorf("%v", err)
	}
}

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
