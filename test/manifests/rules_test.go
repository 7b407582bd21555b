package manifests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/yaml"
)

// set is a complete set of manifests.
type set []object

func (s set) of(group, kind string) []object {
	return slices.DeleteFunc(slices.Clone(s), func(o object) bool { return !o.is(group, kind) })
}

func (s set) services() []object { return s.of("serving.knative.dev", "Service") }

// rules are what this project demands of a set beyond what Kubernetes and Knative do.
var rules = map[string]func(set) []string{
	"namespace":  inOneNamespace,
	"containers": restricted,
	"scaling":    toZero,
	"accounts":   withoutAPI,
	"images":     imagesAreServices,
	"sinks":      toldWhereTheBrokerIs,
	"triggers":   delivered,
	"policies":   denied,
	"secrets":    noSecrets,
}

func (s set) broken() []string {
	var problems []string
	for _, name := range sorted(rules) {
		for _, p := range rules[name](s) {
			problems = append(problems, name+": "+p)
		}
	}
	return problems
}

func inOneNamespace(s set) []string {
	var problems []string
	for _, o := range s {
		if !o.is("", "Namespace") && o.str("metadata", "namespace") != "bucketmesh" {
			problems = append(problems, fmt.Sprintf("%s: is in namespace %q, not in bucketmesh", o, o.str("metadata", "namespace")))
		}
		if o.str("metadata", "labels", "app.kubernetes.io/part-of") != "bucketmesh" {
			problems = append(problems, fmt.Sprintf("%s: has no label app.kubernetes.io/part-of: bucketmesh", o))
		}
	}
	return problems
}

// restricted looks at every container: who it runs as, what it may, what it gets, how it is probed.
func restricted(s set) []string {
	var problems []string
	for _, o := range s {
		pod, ok := o.pod()
		if !ok {
			continue
		}
		if len(pod.Containers) != 1 || len(pod.InitContainers) != 0 {
			problems = append(problems, fmt.Sprintf("%s: has not one container", o))
		}
		for _, c := range pod.Containers {
			for _, p := range container(c) {
				problems = append(problems, fmt.Sprintf("%s: container %s: %s", o, c.Name, p))
			}
		}
	}
	return problems
}

func container(c corev1.Container) []string {
	var problems []string
	demand := func(ok bool, text string) {
		if !ok {
			problems = append(problems, text)
		}
	}
	is := func(b *bool, want bool) bool { return b != nil && *b == want }
	sec := c.SecurityContext
	if sec == nil {
		sec = &corev1.SecurityContext{}
	}
	demand(is(sec.RunAsNonRoot, true), "runAsNonRoot is not true")
	demand(is(sec.AllowPrivilegeEscalation, false), "allowPrivilegeEscalation is not false")
	demand(is(sec.ReadOnlyRootFilesystem, true), "readOnlyRootFilesystem is not true")
	demand(sec.Privileged == nil, "privileged is set")
	demand(sec.Capabilities != nil && slices.Contains(sec.Capabilities.Drop, "ALL") && len(sec.Capabilities.Add) == 0, "capabilities are not dropped")
	demand(sec.SeccompProfile != nil && sec.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault, "seccompProfile is not RuntimeDefault")
	for _, r := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		request, limit := c.Resources.Requests[r], c.Resources.Limits[r]
		demand(!request.IsZero(), "no request of "+string(r))
		demand(!limit.IsZero(), "no limit of "+string(r))
		demand(request.Cmp(limit) <= 0, "requests more "+string(r)+" than its limit")
	}
	demand(c.ReadinessProbe != nil && c.ReadinessProbe.HTTPGet != nil && c.ReadinessProbe.HTTPGet.Path == "/readyz", "readinessProbe is not GET /readyz")
	demand(c.LivenessProbe != nil && c.LivenessProbe.HTTPGet != nil && c.LivenessProbe.HTTPGet.Path == "/healthz", "livenessProbe is not GET /healthz")
	return problems
}

// maxTimeout is max-revision-timeout-seconds of a fresh Knative.
const maxTimeout = 600

// toZero looks at how Services scale: to zero, with an upper bound, and who may call them.
func toZero(s set) []string {
	var problems []string
	for _, o := range s.services() {
		demand := func(ok bool, text string) {
			if !ok {
				problems = append(problems, fmt.Sprintf("%s: %s", o, text))
			}
		}
		var service servingv1.Service
		if yaml.Unmarshal(o.text, &service) != nil {
			continue // judged elsewhere
		}
		spec, notes := service.Spec.Template.Spec, service.Spec.Template.Annotations
		demand(notes["autoscaling.knative.dev/min-scale"] == "0", "does not scale to zero")
		demand(regexp.MustCompile(`^[1-9]\d*$`).MatchString(notes["autoscaling.knative.dev/max-scale"]), "has no upper bound")
		demand(spec.ContainerConcurrency != nil, "containerConcurrency is not set")
		demand(spec.TimeoutSeconds != nil && *spec.TimeoutSeconds <= maxTimeout, "timeoutSeconds is not set, or too long")
		// Knative's default for the beginning of the answer is 300 s, and ours is at the end of the work.
		if spec.TimeoutSeconds != nil && *spec.TimeoutSeconds > 300 {
			demand(spec.ResponseStartTimeoutSeconds != nil && *spec.ResponseStartTimeoutSeconds == *spec.TimeoutSeconds,
				"responseStartTimeoutSeconds is not timeoutSeconds: the answer is cut off")
		}
		local := service.Labels["networking.knative.dev/visibility"] == "cluster-local"
		demand(local != strings.HasPrefix(o.name(), "normalizer-"), "only normalizers are reachable from outside, and they are")
	}
	return problems
}

// withoutAPI looks that every pod has an account of its own, and no token.
func withoutAPI(s set) []string {
	var problems []string
	tokenless := map[string]bool{}
	for _, o := range s.of("", "ServiceAccount") {
		if tokenless[o.name()] = o.at("automountServiceAccountToken") == false; !tokenless[o.name()] {
			problems = append(problems, fmt.Sprintf("%s: mounts a token", o))
		}
	}
	for _, o := range s {
		if strings.HasSuffix(o.group(), "rbac.authorization.k8s.io") {
			problems = append(problems, fmt.Sprintf("%s: no program of ours asks the Kubernetes API anything", o))
		}
		pod, ok := o.pod()
		if !ok {
			continue
		}
		if _, exists := tokenless[pod.ServiceAccountName]; !exists || pod.ServiceAccountName != o.name() {
			problems = append(problems, fmt.Sprintf("%s: has no account of its own", o))
		}
		if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
			problems = append(problems, fmt.Sprintf("%s: mounts a token", o))
		}
	}
	return problems
}

const imagePrefix = "ko://github.com/bucketmesh/bucketmesh/services/"

// program is the folder of services/ that a pod runs.
func (o object) program() (string, bool) {
	pod, ok := o.pod()
	if !ok || len(pod.Containers) == 0 {
		return "", false
	}
	return strings.CutPrefix(pod.Containers[0].Image, imagePrefix)
}

func imagesAreServices(s set) []string {
	var problems []string
	for _, o := range s {
		if _, ok := o.pod(); !ok {
			continue
		}
		name, ok := o.program()
		if !ok || name != o.name() {
			problems = append(problems, fmt.Sprintf("%s: its image is not %s%s", o, imagePrefix, o.name()))
			continue
		}
		if _, err := os.Stat(filepath.Join(root, "services", name, "main.go")); err != nil {
			problems = append(problems, fmt.Sprintf("%s: there is no program: %v", o, err))
		}
	}
	return problems
}

// delivered looks at the Triggers: each is for a Service that is there, patient, and has somewhere to leave what is given up.
func delivered(s set) []string {
	var problems []string
	timeouts := map[string]int64{}
	for _, o := range s.services() {
		var service servingv1.Service
		if yaml.Unmarshal(o.text, &service) == nil && service.Spec.Template.Spec.TimeoutSeconds != nil {
			timeouts[o.name()] = *service.Spec.Template.Spec.TimeoutSeconds
		}
	}
	for _, o := range s.of("eventing.knative.dev", "Trigger") {
		demand := func(ok bool, text string) {
			if !ok {
				problems = append(problems, fmt.Sprintf("%s: %s", o, text))
			}
		}
		var trigger eventingv1.Trigger
		if yaml.Unmarshal(o.text, &trigger) != nil {
			continue // judged elsewhere
		}
		brokers := s.of("eventing.knative.dev", "Broker")
		demand(len(brokers) == 1 && brokers[0].name() == trigger.Spec.Broker, "its broker is not there")
		ref, delivery := trigger.Spec.Subscriber.Ref, trigger.Spec.Delivery
		if ref == nil || ref.Kind != "Service" || timeouts[ref.Name] == 0 {
			demand(false, "its subscriber is not there")
			continue
		}
		if delivery == nil {
			demand(false, "has no delivery")
			continue
		}
		demand(delivery.Retry != nil && *delivery.Retry > 0 && delivery.BackoffPolicy != nil && delivery.BackoffDelay != nil, "has no retries")
		dead := delivery.DeadLetterSink
		demand(dead != nil && dead.Ref != nil && dead.Ref.Name == "dead-letters" && timeouts[dead.Ref.Name] > 0, "has no dead letter sink that is there")
		demand(dead == nil || dead.URI != nil && dead.URI.Path == "/"+trigger.Name, "its dead letter sink does not say whose letters they are")
		wait, err := timeout(trigger)
		demand(err == nil && int64(wait.Seconds()) == timeouts[ref.Name], fmt.Sprintf(
			"its timeout is not that of the Service, %d s: one of the two gives up while the other still waits", timeouts[ref.Name]))
	}
	return problems
}

// denied looks that nothing is open by default, and that each policy is for pods that exist.
func denied(s set) []string {
	var problems []string
	names := map[string]bool{"puller": true} // named in base, for the overlay that has it
	for _, o := range s {
		if _, ok := o.pod(); ok {
			names[o.name()] = true
		}
	}
	closed := false
	for _, o := range s.of("networking.k8s.io", "NetworkPolicy") {
		if o.name() == "default-deny" {
			types, _ := o.at("spec", "policyTypes").([]any)
			selector, _ := o.at("spec", "podSelector").(map[string]any)
			closed = len(types) == 2 && selector != nil && len(selector) == 0 && o.at("spec", "ingress") == nil && o.at("spec", "egress") == nil
		}
		expressions, _ := o.at("spec", "podSelector", "matchExpressions").([]any)
		for _, e := range expressions {
			m, _ := e.(map[string]any)
			if m["key"] != "app.kubernetes.io/name" {
				continue
			}
			values, _ := m["values"].([]any)
			for _, v := range values {
				if name, _ := v.(string); !names[name] {
					problems = append(problems, fmt.Sprintf("%s: is for %v, which is not there", o, v))
				}
			}
		}
	}
	if !closed {
		problems = append(problems, "no NetworkPolicy denies by default")
	}
	return problems
}

// What secrets look like in a text: a password in a URL, the beginnings of well-known keys and tokens.
var secretLike = regexp.MustCompile(`://[^/\s"']*:[^/\s"']+@|AKIA[0-9A-Z]{12}|-----BEGIN|AccountKey=|sig=[A-Za-z0-9%]{8}|eyJ[A-Za-z0-9_-]{10}|ghp_[A-Za-z0-9]{20}`)

// secretNames are variables that never have a value in a manifest.
var secretNames = regexp.MustCompile(`(?i)token|secret|passw|credential|_key(_|$)|state$|nats$|headers$|dsn`)

func noSecrets(s set) []string {
	var problems []string
	for _, o := range s {
		if o.is("", "Secret") {
			problems = append(problems, fmt.Sprintf("%s: a Secret has no place in a manifest", o))
		}
		if found := secretLike.FindString(string(o.text)); found != "" {
			problems = append(problems, fmt.Sprintf("%s: %.4s... looks like a secret", o, found))
		}
		settings, _ := o.at("data").(map[string]any)
		for _, name := range sorted(settings) {
			if secretNames.MatchString(name) {
				problems = append(problems, fmt.Sprintf("%s: the value of %s belongs into a Secret", o, name))
			}
		}
		pod, ok := o.pod()
		if !ok {
			continue
		}
		for _, c := range pod.Containers {
			for _, e := range c.Env {
				if e.Value != "" && secretNames.MatchString(e.Name) {
					problems = append(problems, fmt.Sprintf("%s: the value of %s belongs into a Secret", o, e.Name))
				}
			}
		}
	}
	return problems
}

func TestManifestsFollowTheRules(t *testing.T) {
	for name, objects := range sets(t) {
		for _, p := range set(objects).broken() {
			t.Errorf("%s: %s", name, p)
		}
	}
	for _, p := range noSecrets(parseAll(t, files(t, filepath.Join(root, "deploy", "cloudrun", "*.yaml")))) {
		t.Errorf("deploy/cloudrun: %s", p)
	}
}

// Each rule finds what breaks it.
func TestBrokenRulesAreFound(t *testing.T) {
	texts := base(t)
	for name, c := range map[string]struct{ file, old, with, want string }{
		"another namespace":       {"500-sync.yaml", "namespace: bucketmesh", "namespace: default", "not in bucketmesh"},
		"root":                    {"500-sync.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot"},
		"a writable disk":         {"500-audit.yaml", "            readOnlyRootFilesystem: true\n", "", "readOnlyRootFilesystem"},
		"escalation":              {"500-audit.yaml", "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "allowPrivilegeEscalation"},
		"a capability":            {"500-audit.yaml", "{drop: [ALL]}", "{drop: [ALL], add: [NET_RAW]}", "capabilities"},
		"no seccomp":              {"500-audit.yaml", "type: RuntimeDefault", "type: Unconfined", "seccompProfile"},
		"no limit":                {"500-sync.yaml", `cpu: "1", memory: 512Mi`, `cpu: "1"`, "no limit of memory"},
		"more than the limit":     {"500-sync.yaml", "memory: 192Mi", "memory: 1Gi", "requests more memory"},
		"no readiness":            {"500-sync.yaml", "path: /readyz", "path: /", "readinessProbe"},
		"no liveness":             {"500-sync.yaml", "          livenessProbe:\n            httpGet: {path: /healthz}\n", "", "livenessProbe"},
		"never zero":              {"500-sync.yaml", `min-scale: "0"`, `min-scale: "1"`, "scale to zero"},
		"no upper bound":          {"500-sync.yaml", `max-scale: "4"`, `max-scale: "0"`, "upper bound"},
		"an answer cut off":       {"500-sync.yaml", "      responseStartTimeoutSeconds: 600", "      # 600", "responseStartTimeoutSeconds"},
		"open to the world":       {"500-sync.yaml", "networking.knative.dev/visibility: cluster-local", "a: b", "reachable from outside"},
		"closed to the world":     {"500-normalizer-s3.yaml", "part-of: bucketmesh\n", "part-of: bucketmesh\n    networking.knative.dev/visibility: cluster-local\n", "reachable from outside"},
		"a token":                 {"500-sync.yaml", "automountServiceAccountToken: false", "automountServiceAccountToken: true", "mounts a token"},
		"an account with a token": {"200-serviceaccounts.yaml", "automountServiceAccountToken: false", "automountServiceAccountToken: true", "mounts a token"},
		"somebody else's account": {"500-sync.yaml", "serviceAccountName: sync", "serviceAccountName: audit", "account of its own"},
		"a program that is not":   {"500-sync.yaml", "name: sync\n  namespace", "name: sink\n  namespace", "image is not"},
		"another image":           {"500-sync.yaml", "ko://github.com/bucketmesh/bucketmesh/services/sync", "docker.io/sync", "image is not"},
		"no subscriber":           {"600-triggers.yaml", "kind: Service, name: sync}", "kind: Service, name: sink}", "subscriber is not there"},
		"no broker":               {"400-broker.yaml", "name: bucketmesh\n", "name: other\n", "broker is not there"},
		"no dead letter sink":     {"600-triggers.yaml", "    deadLetterSink:\n      ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: dead-letters}\n      uri: /sync\n", "", "dead letter sink"},
		"an anonymous letter":     {"600-triggers.yaml", "uri: /sync", "uri: /", "does not say whose letters"},
		"no retries":              {"600-triggers.yaml", "    retry: 78\n", "", "has no retries"},
		"two timeouts":            {"600-triggers.yaml", "timeout: PT10M", "timeout: PT1M", "not that of the Service"},
		"a sender without a sink": {"450-sinkbindings.yaml", "    kind: Service\n    name: sync\n", "    kind: Service\n    name: audit\n", "no SinkBinding"},
		"nothing is denied":       {"300-networkpolicies.yaml", "policyTypes: [Ingress, Egress]", "policyTypes: [Ingress]", "denies by default"},
		"a policy for nobody":     {"300-networkpolicies.yaml", "[sync, conflict-resolver, puller]", "[sink, conflict-resolver, puller]", "which is not there"},
		"a password":              {"500-sync.yaml", "value: /etc/bucketmesh/group.yaml", "value: postgres://a:hunter2@db/x", "looks like a secret"},
		"a token's value":         {"500-normalizer-s3.yaml", "valueFrom: {secretKeyRef: {name: bucketmesh-senders, key: webhook-tokens, optional: true}}", "value: abc", "belongs into a Secret"},
		"a Secret":                {"200-serviceaccounts.yaml", "kind: ServiceAccount", "kind: Secret", "no place in a manifest"},
	} {
		t.Run(name, func(t *testing.T) {
			problems := strings.Join(set(parseAll(t, replaced(t, texts, c.file, c.old, c.with))).broken(), "\n")
			if !strings.Contains(problems, c.want) {
				t.Errorf("found %q, want %q", problems, c.want)
			}
		})
	}
}
