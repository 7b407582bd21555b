package broker

import (
	"context"

	"github.com/cloudevents/sdk-go/v2/event"
	"knative.dev/eventing/pkg/eventfilter"
)

// Matcher says which events a trigger lets through: what its subscribers get of a Broker, this one or Knative's. A trigger with
// a filter that Knative would refuse is an error of kind Invalid.
func Matcher(t Trigger) (func(ctx context.Context, e event.Event) bool, error) {
	f, err := compile(t)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, e event.Event) bool { return f.Filter(ctx, e) != eventfilter.FailFilter }, nil
}
