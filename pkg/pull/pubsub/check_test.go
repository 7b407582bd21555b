package pubsub_test

import (
	"strings"
	"testing"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/grpc/codes"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pull/pubsub"
	"github.com/bucketmesh/bucketmesh/pkg/pull/queue"
)

func check(t *testing.T, name string) error {
	t.Helper()
	l, err := queue.Limits{}.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	s, err := pubsub.New(t.Context(), pubsub.Config{Subscription: name, Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.Check(t.Context())
}

func TestTrapASubscriptionThatPushesIsRefused(t *testing.T) {
	s, _ := emulator(t)
	subscribe(t, s, &pubsubpb.Subscription{Name: subscription + "-push", PushConfig: &pubsubpb.PushConfig{PushEndpoint: "http://127.0.0.1:1/"}})
	if err := check(t, subscription+"-push"); !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), "it pushes") {
		t.Error(err)
	}
	if err := check(t, subscription); err != nil {
		t.Error(err)
	}
}

func TestWrongCredentialsAreToldWithTheMend(t *testing.T) {
	for code, kind := range map[codes.Code]errkind.Kind{
		codes.PermissionDenied: errkind.PermissionDenied, codes.Unauthenticated: errkind.PermissionDenied, codes.NotFound: errkind.NotFound,
		codes.ResourceExhausted: errkind.Throttled, codes.Internal: errkind.Unavailable, codes.InvalidArgument: errkind.Invalid,
	} {
		s := pstest.NewServer(pstest.WithErrorInjection("GetSubscription", code, "no"))
		t.Cleanup(func() { s.Close() })
		t.Setenv("PUBSUB_EMULATOR_HOST", s.Addr)
		err := check(t, subscription)
		if !errkind.Is(err, kind) || kind == errkind.PermissionDenied && !strings.Contains(err.Error(), "roles/pubsub.subscriber") {
			t.Errorf("%s: kind %s: %v", code, errkind.Of(err), err)
		}
	}
}

func TestNamesAndCredentialsFilesAreChecked(t *testing.T) {
	for _, name := range []string{"", "s", "projects/p/topics/t", "projects/p/subscriptions/", "projects/p/subscriptions/s/x"} {
		if _, err := pubsub.New(t.Context(), pubsub.Config{Subscription: name}); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := pubsub.New(t.Context(), pubsub.Config{Subscription: subscription, CredentialsFile: t.TempDir() + "/none"}); !errkind.Is(err, errkind.PermissionDenied) {
		t.Error(err)
	}
}
