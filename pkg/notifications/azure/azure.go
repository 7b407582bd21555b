// Package azure sets up the notifications of blob containers: an Event Grid event subscription on the storage account, named
// after us, which tells a webhook or a Storage Queue.
//
// Event Grid replaces a subscription as a whole, so ours is read first and what we do not decide stays as it is: labels,
// expiration, the dead-letter destination, identities, delivery attributes, batch sizes, filters that an operator added. One with
// parts that this version does not know is refused instead of losing them. Event subscriptions of other names are never touched.
//
// The webhook proves itself by the handshake of CloudEvents while the subscription is made, so it must be up. What Event Grid
// shows it is either a token of Entra or a secret in the URL, which Azure tells only to who may ask for it
// (getFullUrl); it is compared and never shown.
//
// Errors: Invalid for a document that can't work or a webhook that failed the handshake, NotFound for a storage account that
// is not there, PermissionDenied, Unsupported, Throttled, and Unavailable if Azure did not answer or did not end in time. Errors
// of Azure are repeated without the secrets that they may quote.
//
// Concurrency: a Container is for one goroutine at a time.
package azure

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/eventgrid/armeventgrid/v2"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
)

// Config of a Container. Replica and ID are required; zero values have the defaults that are named.
type Config struct {
	Replica config.Replica
	ID      string // name of our event subscription

	// Tokens are the secrets that the webhook takes; the first one is installed.
	Tokens []string
	// EntraTenant and EntraAudience: Event Grid shows a token of Entra instead of a secret. Both or none.
	EntraTenant   string
	EntraAudience string

	Credential azcore.TokenCredential // for Azure's management; nil: azidentity's default chain
	// ClientOptions has another cloud, or another transport.
	ClientOptions arm.ClientOptions

	RequestTimeout   time.Duration // of one request: 30 s
	OperationTimeout time.Duration // of making or removing the subscription, with the handshake: 5 min
	PollEvery        time.Duration // pause between two looks at it: 2 s
	// OnProgress is told what is waited for.
	OnProgress func(text string)
}

// Container is the event subscriptions of one container's storage account.
type Container struct {
	cfg    Config
	scope  *arm.ResourceID
	client *armeventgrid.EventSubscriptionsClient
	http   *http.Transport // nil: somebody else's
	target destination
}

var _ notifications.Provider = (*Container)(nil)

// destination is what the document asks to be told.
type destination struct {
	url            string // of a webhook, without a secret
	account, queue string // of a Storage Queue: the resource id of its account, and its name
}

var queueID = regexp.MustCompile(`(?i)^(/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Storage/storageAccounts/[^/]+)/queueServices/default/queues/([^/]+)$`)

// Open makes a Container. It sends no request.
func Open(_ context.Context, cfg Config) (*Container, error) {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&cfg.RequestTimeout, 30*time.Second)
	def(&cfg.OperationTimeout, 5*time.Minute)
	def(&cfg.PollEvery, 2*time.Second)
	if cfg.OnProgress == nil {
		cfg.OnProgress = func(string) {}
	}
	c := &Container{cfg: cfg}
	var err error
	if c.scope, err = scopeOf(cfg.Replica); err != nil {
		return nil, err
	}
	if c.target, err = cfg.destination(); err != nil {
		return nil, err
	}
	cred := cfg.Credential
	if cred == nil {
		if cred, err = azidentity.NewDefaultAzureCredential(nil); err != nil {
			return nil, errkind.New(errkind.PermissionDenied, "find credentials of Azure: %w", err)
		}
	}
	o := cfg.ClientOptions
	o.DisableRPRegistration = true // switching on a provider of the subscription is a person's decision
	o.Retry.TryTimeout = cfg.RequestTimeout
	if o.Transport == nil {
		c.http = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
			DialContext:         (&net.Dialer{Timeout: min(cfg.RequestTimeout, 10*time.Second)}).DialContext,
			TLSHandshakeTimeout: min(cfg.RequestTimeout, 10*time.Second),
		}
		o.Transport = &http.Client{Transport: c.http}
	}
	if c.client, err = armeventgrid.NewEventSubscriptionsClient(c.scope.SubscriptionID, cred, &o); err != nil {
		return nil, errkind.New(errkind.Invalid, "make a client of Event Grid: %w", err)
	}
	return c, nil
}

// scopeOf is the storage account that the document names.
func scopeOf(r config.Replica) (*arm.ResourceID, error) {
	const mend = "write the resource id of the storage account (az storage account show --name ACCOUNT --query id)"
	id, err := arm.ParseResourceID(r.Notifications.Scope)
	switch {
	case r.Notifications.Scope == "":
		return nil, errkind.New(errkind.Invalid, "notifications.scope: not set; %s", mend)
	case err != nil || !strings.EqualFold(id.ResourceType.String(), "Microsoft.Storage/storageAccounts"):
		return nil, errkind.New(errkind.Invalid, "notifications.scope %q: not a storage account; %s", r.Notifications.Scope, mend)
	case !strings.EqualFold(id.Name, r.Account):
		return nil, errkind.New(errkind.Invalid, "notifications.scope %q: not the storage account %s of the replica's url; %s", r.Notifications.Scope, r.Account, mend)
	}
	return id, nil
}

// destination is what the document asks to be told.
func (c Config) destination() (destination, error) {
	target := c.Replica.Notifications.Target
	if target == "" {
		return destination{}, nil // something is to be removed
	}
	if m := queueID.FindStringSubmatch(target); m != nil {
		return destination{account: m[1], queue: m[2]}, nil
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return destination{}, errkind.New(errkind.Invalid, "notifications.target: neither an https URL nor the resource id of a Storage Queue; write "+
			"https://HOST/azure/%s, or /subscriptions/.../storageAccounts/ACCOUNT/queueServices/default/queues/QUEUE", c.Replica.Name)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return destination{}, errkind.New(errkind.Invalid, "notifications.target: the URL %s has a user, a query or a fragment (not shown: it may be a secret); "+
			"write it without: the secret is taken from the environment", u.Scheme+"://"+u.Host+u.Path)
	}
	switch {
	case (c.EntraTenant == "") != (c.EntraAudience == ""):
		return destination{}, errkind.New(errkind.Invalid, "one of BUCKETMESH_ENTRA_TENANT and BUCKETMESH_ENTRA_AUDIENCE is not set; set both, or none")
	case c.EntraTenant == "" && len(c.Tokens) == 0:
		return destination{}, errkind.New(errkind.Invalid, "notifications.target %s: nothing says how Event Grid proves itself there; set BUCKETMESH_WEBHOOK_TOKENS "+
			"as the normalizer has it, or BUCKETMESH_ENTRA_TENANT and BUCKETMESH_ENTRA_AUDIENCE", target)
	}
	return destination{url: target}, nil
}

// fullURL is the webhook's URL as Event Grid calls it.
func (c *Container) fullURL() string {
	if c.cfg.EntraTenant != "" || len(c.cfg.Tokens) == 0 {
		return c.target.url
	}
	return c.target.url + "?" + url.Values{"token": {c.cfg.Tokens[0]}}.Encode()
}

// Close implements notifications.Provider.
func (c *Container) Close() error {
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
	return nil
}
