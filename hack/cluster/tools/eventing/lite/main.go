// Command lite is Knative Eventing's own reconcilers of brokers, triggers, channels and subscriptions in one process, without
// probes, leader election and webhooks: for tests without nodes (hack/knative-light.sh). With ROLE=dispatch it is the data
// plane of in-memory channels, which listens on port 8080.
package main

import (
	"os"

	filtered "knative.dev/pkg/client/injection/kube/informers/factory/filtered"
	"knative.dev/pkg/injection/sharedmain"
	"knative.dev/pkg/signals"

	"knative.dev/eventing/pkg/auth"
	"knative.dev/eventing/pkg/eventingtls"
	"knative.dev/eventing/pkg/reconciler/broker"
	mttrigger "knative.dev/eventing/pkg/reconciler/broker/trigger"
	"knative.dev/eventing/pkg/reconciler/channel"
	controller "knative.dev/eventing/pkg/reconciler/inmemorychannel/controller"
	dispatcher "knative.dev/eventing/pkg/reconciler/inmemorychannel/dispatcher"
	"knative.dev/eventing/pkg/reconciler/subscription"
)

func main() {
	ctx := filtered.WithSelectors(signals.NewContext(), auth.OIDCLabelSelector, eventingtls.TrustBundleLabelSelector)
	ctx = sharedmain.WithHADisabled(sharedmain.WithHealthProbesDisabled(ctx))
	if os.Getenv("ROLE") == "dispatch" {
		sharedmain.MainWithContext(ctx, "inmemorychannel-dispatcher", dispatcher.NewController)
		return
	}
	sharedmain.MainWithContext(ctx, "eventing-lite", channel.NewController, subscription.NewController, broker.NewController, mttrigger.NewController, controller.NewController)
}
