// Command kingress is a small ingress for tests: it does what Knative asks of one (the KIngress resource) with the standard
// library's reverse proxy. It knows hosts, paths, headers, splits by weight and headers to add; it speaks HTTP/1.1 without TLS.
// Port 8080 serves the hosts that are visible outside of the cluster, 8081 all of them.
package main

import (
	"context"
	"log"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/networking/pkg/client/clientset/versioned"
	"knative.dev/networking/pkg/client/informers/externalversions"
	"knative.dev/networking/pkg/ingress"
)

const (
	class    = "kingress.bucketmesh.dev"
	public   = "kingress.kingress.svc.cluster.local"
	internal = "kingress-internal.kingress.svc.cluster.local"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	cfg, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	client, err := versioned.NewForConfig(cfg)
	if err != nil {
		return err
	}
	informers := externalversions.NewSharedInformerFactory(client, 5*time.Minute)
	ingresses := informers.Networking().V1alpha1().Ingresses()
	changed := make(chan struct{}, 1)
	poke := func() {
		select {
		case changed <- struct{}{}:
		default: // one look at all of them is due already
		}
	}
	if _, err := ingresses.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { poke() }, UpdateFunc: func(any, any) { poke() }, DeleteFunc: func(any) { poke() },
	}); err != nil {
		return err
	}
	informers.Start(ctx.Done())
	informers.WaitForCacheSync(ctx.Done())

	outside, inside := newProxy(), newProxy()
	failed := make(chan error, 2)
	go func() { failed <- http.ListenAndServe(":8080", outside) }()
	go func() { failed <- http.ListenAndServe(":8081", inside) }()
	for poke(); ; {
		select {
		case err := <-failed:
			return err
		case <-changed:
		}
		all, err := ingresses.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		mine := ours(all)
		visible, every, err := routes(mine)
		if err != nil {
			return err
		}
		outside.routes.Store(&visible)
		inside.routes.Store(&every)
		for _, i := range mine {
			if err := markReady(ctx, client, i); err != nil {
				log.Println(err)
				time.AfterFunc(time.Second, poke)
			}
		}
	}
}

// ours are copies of those that name this ingress.
func ours(all []*v1alpha1.Ingress) []*v1alpha1.Ingress {
	var mine []*v1alpha1.Ingress
	for _, i := range all {
		if i.Annotations[networking.IngressClassAnnotationKey] == class {
			mine = append(mine, i.DeepCopy())
		}
	}
	return mine
}

// routes are the paths of each host: those visible outside of the cluster, and all.
func routes(ingresses []*v1alpha1.Ingress) (visible, every table, err error) {
	visible, every = table{}, table{}
	for _, i := range ingresses {
		probed := i.DeepCopy()
		if _, err := ingress.InsertProbe(probed); err != nil {
			return nil, nil, err
		}
		for _, rule := range probed.Spec.Rules {
			for host := range ingress.ExpandedHosts(sets.New(rule.Hosts...)) {
				every[host] = append(every[host], rule.HTTP.Paths...)
				if rule.Visibility != v1alpha1.IngressVisibilityClusterLocal {
					visible[host] = append(visible[host], rule.HTTP.Paths...)
				}
			}
		}
	}
	return visible, every, nil
}

// markReady says of an ingress that its routes are in force, unless that is said already.
func markReady(ctx context.Context, client versioned.Interface, i *v1alpha1.Ingress) error {
	if i.Status.ObservedGeneration == i.Generation && i.IsReady() {
		return nil
	}
	i.Status.InitializeConditions()
	i.Status.MarkNetworkConfigured()
	i.Status.MarkLoadBalancerReady(
		[]v1alpha1.LoadBalancerIngressStatus{{DomainInternal: public}},
		[]v1alpha1.LoadBalancerIngressStatus{{DomainInternal: internal}})
	i.Status.ObservedGeneration = i.Generation
	_, err := client.NetworkingV1alpha1().Ingresses(i.Namespace).UpdateStatus(ctx, i, metav1.UpdateOptions{})
	return err
}
