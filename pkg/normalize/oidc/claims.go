package oidc

import (
	"slices"

	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/refuse"
)

// Claims is what a verified token says of its bearer.
type Claims struct {
	Issuer        string
	Subject       string
	Email         string // Google: of the service account
	EmailVerified bool
	Application   string // Entra: the client id, appid in tokens of version 1 and azp in those of version 2
	Tenant        string // Entra
}

// RequireAccount lets only the bearers with one of these e-mail addresses through, and only if the issuer has verified
// it. Errors: PermissionDenied.
func (c Claims) RequireAccount(emails []string) error {
	switch {
	case !slices.Contains(emails, c.Email) || c.Email == "":
		return denied("its account is none of %q", emails)
	case !c.EmailVerified:
		return denied("its issuer has not verified the e-mail address of its account")
	}
	return nil
}

// RequireApplication lets only the bearers that are one of these applications through. Errors: PermissionDenied.
func (c Claims) RequireApplication(ids []string) error {
	if !slices.Contains(ids, c.Application) || c.Application == "" {
		return denied("its application is none of %q", ids)
	}
	return nil
}

func denied(format string, args ...any) error {
	return refuse.New(errkind.PermissionDenied, refuse.Principal, "verify token: "+format, args...)
}

// payload is a token as it is written.
type payload struct {
	jwt.Claims

	Email         string `json:"email"`
	EmailVerified bool   `json:"email_verified"`
	AppID         string `json:"appid"`
	Azp           string `json:"azp"`
	Tid           string `json:"tid"`
}

func (p payload) claims() Claims {
	c := Claims{
		Issuer: p.Issuer, Subject: p.Subject, Email: p.Email, EmailVerified: p.EmailVerified, Application: p.AppID, Tenant: p.Tid,
	}
	if c.Application == "" {
		c.Application = p.Azp
	}
	return c
}
