package config

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
)

const maxNotification = 2048 // bytes, as in the schema

// The forms of what notifications name. Amazon tells no FIFO queue and no FIFO topic of a bucket's changes, so the names
// of targets end without .fifo (the dot is not part of other names); a FIFO queue may be drained nevertheless.
var (
	amazonARN = regexp.MustCompile(`^arn:aws(?:-[a-z]+)*:(?:sqs|sns):([a-z0-9-]+):[0-9]{12}:[A-Za-z0-9_-]{1,256}$`)
	minioARN  = regexp.MustCompile(`^arn:minio:sqs:[A-Za-z0-9-]*:[A-Za-z0-9_-]+:webhook$`)
	cephARN   = regexp.MustCompile(`^arn:aws:sns:[A-Za-z0-9_-]+:[A-Za-z0-9_-]*:[A-Za-z0-9._-]{1,256}$`)
	sqsPath   = regexp.MustCompile(`^/[0-9]{12}/[A-Za-z0-9_-]{1,80}(?:\.fifo)?$`)

	pubSubName = regexp.MustCompile(`^projects/(?:(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]|[0-9]+)/(topics|subscriptions)/([A-Za-z][A-Za-z0-9._~%+-]{2,254})$`)

	// Azure's resource ids have no case.
	accountID = regexp.MustCompile(`(?i)^/subscriptions/[0-9a-f-]{36}/resourceGroups/[^/]{1,90}/providers/Microsoft\.Storage/storageAccounts/([a-z0-9]{3,24})$`)
	queueID   = regexp.MustCompile(`(?i)^/subscriptions/[0-9a-f-]{36}/resourceGroups/[^/]{1,90}/providers/Microsoft\.Storage/storageAccounts/[a-z0-9]{3,24}/queueServices/default/queues/([a-z0-9-]{3,63})$`)
)

const (
	storageAccountMend = "write /subscriptions/ID/resourceGroups/GROUP/providers/Microsoft.Storage/storageAccounts/"
	azureTargetMend    = "write the https URL of a webhook, or " +
		"/subscriptions/ID/resourceGroups/GROUP/providers/Microsoft.Storage/storageAccounts/ACCOUNT/queueServices/default/queues/QUEUE"
)

// document is what Marshal writes.
func (n Notifications) document() *notifications {
	if n == (Notifications{}) {
		return nil
	}
	return &notifications{Target: n.Target, Pull: n.Pull, Subscription: n.Subscription, Scope: n.Scope}
}

// notifications fills in how a replica's changes are told, judged by the rules of its provider.
func (v *validator) notifications(path string, in *notifications, r *Replica) {
	if in == nil || r.Provider == "" { // a URL that could not be read has no provider to judge by
		return
	}
	r.Notifications = Notifications{Target: in.Target, Pull: in.Pull, Subscription: in.Subscription, Scope: in.Scope}
	rules := map[string]map[string]func(path, value string, r *Replica){
		"s3":     {"target": v.s3Target, "pull": v.sqsQueue},
		"gcs":    {"target": v.pubSub("topics"), "pull": v.pubSub("subscriptions"), "subscription": v.pubSub("subscriptions")},
		"azblob": {"target": v.azureTarget, "pull": v.storageQueue, "scope": v.azureScope},
	}
	fields := map[string]string{"target": in.Target, "pull": in.Pull, "subscription": in.Subscription, "scope": in.Scope}
	for _, name := range sortedKeys(fields) {
		at, value := path+"."+name, fields[name]
		rule, known := rules[r.Provider][name]
		switch {
		case value == "":
		case !known:
			v.add(at, shown(value), "is of no use to a replica at "+schemeOf(r.Provider), "remove it: "+whoHas(rules, name)+" replicas have it")
		case len(value) > maxNotification:
			v.add(at, "", fmt.Sprintf("is longer than %d bytes", maxNotification), "use a shorter name")
		default:
			rule(at, value, r)
		}
	}
	if r.Provider != "azblob" || v.blocked(path+".target") || v.blocked(path+".scope") {
		return
	}
	switch {
	case in.Target != "" && in.Scope == "":
		v.add(path+".scope", "", "is missing", storageAccountMend+r.Account)
	case in.Target == "" && in.Scope != "":
		v.add(path+".scope", "", "is there without a target", "remove it, or name the target that the account notifies")
	}
}

// schemeOf is the URL scheme of a provider, as it is written.
func schemeOf(provider string) string {
	for scheme, p := range providerOf {
		if p == provider {
			return scheme + "://"
		}
	}
	return provider
}

func whoHas[V any](rules map[string]map[string]V, field string) string {
	var schemes []string
	for _, provider := range sortedKeys(rules) {
		if _, ok := rules[provider][field]; ok {
			schemes = append(schemes, schemeOf(provider))
		}
	}
	return strings.Join(schemes, " and ")
}

// shown is a value for a message, but not one that could hold a secret: a URL with a query, a connection string, a key.
func shown(value string) string {
	if strings.ContainsAny(value, "@?#=;{") {
		return ""
	}
	return quote(value)
}

func (v *validator) s3Target(path, value string, r *Replica) {
	amazon := r.Endpoint == "" || isAmazon(r.Endpoint)
	arn := amazonARN.FindStringSubmatch(value)
	switch {
	case r.Dialect == "versitygw":
		v.add(path, shown(value), "can't be set: versitygw has one webhook, an option of the server", "remove it, and start versitygw with --event-webhook-url")
	case r.Dialect == "minio":
		if !minioARN.MatchString(value) {
			v.add(path, shown(value), "is not the ARN of a webhook of MinIO", "write arn:minio:sqs:REGION:ID:webhook, such as arn:minio:sqs::T1:webhook; mc admin info lists them")
		}
	case r.Dialect == "rgw":
		if !cephARN.MatchString(value) {
			v.add(path, shown(value), "is not the ARN of a topic of Ceph", "write arn:aws:sns:ZONEGROUP:TENANT:TOPIC, such as arn:aws:sns:default::changes")
		}
	case value == "eventbridge":
	case strings.Contains(value, ":lambda:"):
		v.add(path, shown(value), "is a Lambda function", "write the ARN of an SQS queue or an SNS topic, or eventbridge")
	case strings.HasSuffix(value, ".fifo"):
		v.add(path, shown(value), "is FIFO, and S3 notifies standard queues and topics only", "use a standard queue or topic: the order of changes comes from their sequencers")
	case arn == nil:
		v.add(path, shown(value), "is no target of notifications", "write arn:aws:sqs:REGION:ACCOUNT:QUEUE, arn:aws:sns:REGION:ACCOUNT:TOPIC or eventbridge")
	case amazon && arn[1] != r.Region:
		v.add(path, shown(value), "is in another region than the bucket, and S3 notifies its own region only", "use a queue or topic in "+r.Region)
	}
}

func (v *validator) sqsQueue(path, value string, _ *Replica) {
	const mend = "write https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE"
	if u := v.webURL(path, value, mend); u != nil && !sqsPath.MatchString(u.EscapedPath()) {
		v.add(path, quote(value), "is not the URL of an SQS queue", mend)
	}
}

func (v *validator) pubSub(kind string) func(path, value string, r *Replica) {
	return func(path, value string, r *Replica) {
		name := pubSubName.FindStringSubmatch(value)
		switch {
		case name == nil || name[1] != kind || strings.HasPrefix(name[2], "goog"):
			v.add(path, shown(value), "is not the name of a Pub/Sub "+strings.TrimSuffix(kind, "s"), "write projects/PROJECT/"+kind+"/NAME: a project's id has 6 to 30 characters, a name 3 to 255 and does not begin with goog")
		case kind == "subscriptions" && strings.HasSuffix(path, ".subscription") && value == r.Notifications.Pull:
			v.add(path, quote(value), "is the one that is pulled from, too", "use another subscription of the topic: one that pushes can't be pulled from")
		}
	}
}

// pushedAndPulled refuses a Pub/Sub subscription that one replica pulls from and that pushes for another one. That several
// replicas pull from one queue is fine: a message says which bucket it is about.
func (v *validator) pushedAndPulled(path string, replicas []Replica) {
	for i, r := range replicas {
		for j, other := range replicas {
			if i != j && r.Notifications.Subscription != "" && r.Notifications.Subscription == other.Notifications.Pull {
				v.add(index(path, i)+".notifications.subscription", shown(r.Notifications.Subscription), "is what "+index(path, j)+" pulls from",
					"use another subscription of the topic: one that pushes can't be pulled from")
			}
		}
	}
}

func (v *validator) azureTarget(path, value string, _ *Replica) {
	if strings.HasPrefix(value, "/") {
		if id := queueID.FindStringSubmatch(value); id == nil || !isAzureName(id[1]) {
			v.add(path, shown(value), "is not the resource id of a Storage Queue", azureTargetMend)
		}
		return
	}
	v.webURL(path, value, azureTargetMend)
}

func (v *validator) azureScope(path, value string, r *Replica) {
	id := accountID.FindStringSubmatch(value)
	switch {
	case id == nil:
		v.add(path, shown(value), "is not the resource id of a storage account", storageAccountMend+r.Account)
	case !strings.EqualFold(id[1], r.Account):
		v.add(path, shown(value), "is not the account of the replica's URL", storageAccountMend+r.Account)
	}
}

// storageQueue: the account is in the host name or, at an emulator, the first element of the path.
func (v *validator) storageQueue(path, value string, _ *Replica) {
	const mend = "write https://ACCOUNT.queue.core.windows.net/QUEUE"
	u := v.webURL(path, value, mend)
	if u == nil {
		return
	}
	account, service, _ := strings.Cut(u.Hostname(), ".")
	queue := strings.TrimPrefix(u.EscapedPath(), "/")
	if !strings.HasPrefix(service, "queue.") {
		account, queue, _ = strings.Cut(queue, "/")
	}
	if !accountName.MatchString(account) || !isAzureName(queue) {
		v.add(path, quote(value), "is not the URL of a Storage Queue", mend)
	}
}

// webURL reads an absolute URL without anything that could be a secret: https, or http on this machine.
func (v *validator) webURL(path, value, mend string) *url.URL {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		v.add(path, "", "is not an https URL", mend) // can be anything; it is not repeated
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		v.add(path, "", "has credentials, a query or a fragment (the value is not shown)", mend+"; secrets come from the environment")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		v.add(path, quote(value), "is not https", mend+"; http is for addresses of this machine only")
	default:
		return u
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || (ip != nil && ip.IsLoopback())
}
