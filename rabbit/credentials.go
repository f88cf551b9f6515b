package rabbit

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
)

// maxPasswordFile bounds what is read of a file that turns out to be another one.
const maxPasswordFile = 64 << 10

// sasl returns how to authenticate, with the password as it is now. A fault is a
// [*broker.FieldError].
func (d *dialer) sasl() ([]amqp.Authentication, error) {
	s := &d.settings
	if s.Auth == AuthExternal {
		return []amqp.Authentication{&amqp.ExternalAuth{}}, nil
	}
	user, password := d.target.user, d.target.password
	if s.Username != "" {
		user = s.Username
	}
	if !s.Password.IsZero() {
		password = s.Password
	}
	if s.PasswordFile != "" {
		text, err := readPassword(s.PasswordFile)
		if err != nil {
			return nil, err
		}
		password = text
	}
	if user == "" {
		user, password = "guest", broker.NewSecret("guest")
	}
	return []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password.Reveal()}}, nil
}

func readPassword(path string) (broker.Secret, error) {
	fault := func(problem string) (broker.Secret, error) {
		return broker.Secret{}, &broker.FieldError{Field: "PasswordFile", Value: path, Problem: problem}
	}
	info, err := os.Stat(path)
	if err != nil {
		return fault("cannot be read: " + reason(err))
	}
	if info.IsDir() || info.Size() > maxPasswordFile {
		return fault(fmt.Sprintf("is a folder or larger than %d bytes; name the file that holds the password alone", maxPasswordFile))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fault("cannot be read: " + reason(err))
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if text == "" {
		return fault("is empty; write the password into it")
	}
	return broker.NewSecret(text), nil
}

// reason returns why a file could not be read, without its path, which stands
// before it already.
func reason(err error) string {
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// tlsConfig returns the configuration of TLS for an address, with the files as
// they are now; nil without TLS. A fault is a [*broker.FieldError].
func (d *dialer) tlsConfig(address string) (*tls.Config, error) {
	if !d.target.tls {
		return nil, nil
	}
	host, _, _ := net.SplitHostPort(address) // validated
	s := d.settings.TLS
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if s.ServerName != "" {
		config.ServerName = s.ServerName
	}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, &broker.FieldError{Field: "TLS.CAFile", Value: s.CAFile, Problem: "cannot be read: " + reason(err)}
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &broker.FieldError{Field: "TLS.CAFile", Value: s.CAFile, Problem: "holds no certificate in PEM"}
		}
	}
	if s.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
		if err != nil {
			return nil, &broker.FieldError{
				Field: "TLS.CertFile", Value: s.CertFile,
				Problem: fmt.Sprintf("and the key in %s cannot be used: %s", s.KeyFile, err),
			}
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
