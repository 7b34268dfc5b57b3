package handlers

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// certificateDir is where qemu and libvirt look for a client's certificate.
const certificateDir = "/etc/pki/qemu"

// exportView tells how servers reach an attached volume; nil when the backend does
// not serve volumes itself.
func exportView(c echo.Context, v *models.Volume) *views.Export {
	if v.Export.None() || len(v.Attachments) == 0 {
		return nil
	}
	host, port, err := net.SplitHostPort(v.Export.Address)
	if err != nil {
		return nil
	}
	if site := RequestOf(c).Site; site.ExportHost != "" {
		host = site.ExportHost
	}
	e := &views.Export{Host: host, Port: port, Name: v.Export.Name, TLS: v.Export.Protocol == "nbds"}
	if ip, err := netip.ParseAddr(host); host == "localhost" || (err == nil && ip.IsLoopback()) {
		e.ThisMachine = true
	}
	e.URI = v.Export.Protocol + "://" + net.JoinHostPort(host, port) + "/" + v.Export.Name
	e.Commands = []views.Command{
		{Tool: "nbd-client", Text: nbdClient(e)}, {Tool: "qemu-system", Text: qemuDrive(e)}, {Tool: "libvirt", Text: libvirtDisk(e)},
	}
	return e
}

// nbdClient is the command that makes the volume /dev/nbd0 of a Linux server.
func nbdClient(e *views.Export) string {
	command := fmt.Sprintf("sudo modprobe nbd\nsudo nbd-client %s %s /dev/nbd0 -name %s", e.Host, e.Port, e.Name)
	if e.TLS {
		command += fmt.Sprintf(" -certfile %[1]s/client-cert.pem -keyfile %[1]s/client-key.pem -cacertfile %[1]s/ca-cert.pem -tlshostname %[2]s",
			certificateDir, e.Host)
	}
	return command
}

// qemuDrive is the command that makes the volume a virtio disk of a qemu machine.
func qemuDrive(e *views.Export) string {
	if !e.TLS {
		return fmt.Sprintf("qemu-system-x86_64 -drive file=%s,format=raw,if=virtio,discard=unmap", e.URI)
	}
	return fmt.Sprintf("qemu-system-x86_64 -object tls-creds-x509,id=tls0,endpoint=client,dir=%s -drive file.driver=nbd,file.server.type=inet,"+
		"file.server.host=%s,file.server.port=%s,file.export=%s,file.tls-creds=tls0,format=raw,if=virtio,discard=unmap",
		certificateDir, e.Host, e.Port, e.Name)
}

var xmlText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&apos;", `"`, "&quot;")

// libvirtDisk is the disk element of a libvirt domain.
func libvirtDisk(e *views.Export) string {
	tls := ""
	if e.TLS {
		tls = " tls='yes'"
	}
	return fmt.Sprintf(`<disk type='network' device='disk'>
  <driver name='qemu' type='raw' discard='unmap'/>
  <source protocol='nbd' name='%s'%s>
    <host name='%s' port='%s'/>
  </source>
  <target dev='vdb' bus='virtio'/>
</disk>`, xmlText.Replace(e.Name), tls, xmlText.Replace(e.Host), e.Port)
}

// attachedServers are the servers of a volume with their clients.
func attachedServers(v *models.Volume) []views.AttachedServer {
	var all []views.AttachedServer
	for _, a := range v.Attachments {
		s := views.AttachedServer{Server: views.Link{ID: a.ServerID, Name: a.ServerName}, Use: string(v.Use(a.ServerID)), UsedAt: a.UsedAt}
		for _, c := range v.Connections {
			if c.ServerID == a.ServerID {
				s.Clients = append(s.Clients, clientView(c))
			}
		}
		all = append(all, s)
	}
	return all
}

func clientView(c models.Connection) views.Client {
	return views.Client{ID: c.ID, Address: c.Address, Identity: c.Identity, Since: c.Since, ActiveAt: c.ActiveAt,
		Read: c.BytesRead, Written: c.BytesWritten}
}

const maxClientsNamed = 2

// busyNote names the clients that a detach waits for.
func busyNote(v *models.Volume) views.Message {
	clients := v.Clients()
	switch {
	case v.Status != models.Detaching || len(clients) == 0:
		return views.Message{}
	case len(clients) > maxClientsNamed:
		return Msg(models.NewText("volume.held_by_more", strings.Join(clients[:maxClientsNamed], ", "), fmt.Sprint(len(clients)-maxClientsNamed)))
	}
	return Msg(models.NewText("volume.held_by", strings.Join(clients, ", ")))
}

type exportJSON struct {
	Protocol string `json:"protocol"`
	Host     string `json:"host"`
	Port     string `json:"port"`
	Name     string `json:"name"`
	URI      string `json:"uri"`
}

type connectionJSON struct {
	ServerID     string `json:"server_id"`
	Address      string `json:"address"`
	Identity     string `json:"identity,omitempty"`
	Since        string `json:"since"`
	ActiveAt     string `json:"active_at"`
	BytesRead    int64  `json:"bytes_read"`
	BytesWritten int64  `json:"bytes_written"`
}

// volumeDetailJSON is volumeJSON with the export and the connections.
type volumeDetailJSON struct {
	volumeJSON
	Export      *exportJSON      `json:"export,omitempty"`
	Connections []connectionJSON `json:"connections,omitempty"`
}

func toVolumeDetailJSON(c echo.Context, v *models.Volume) volumeDetailJSON {
	j := volumeDetailJSON{volumeJSON: toVolumeJSON(c, v)}
	if e := exportView(c, v); e != nil {
		j.Export = &exportJSON{Protocol: v.Export.Protocol, Host: e.Host, Port: e.Port, Name: e.Name, URI: e.URI}
	}
	for _, k := range v.Connections {
		j.Connections = append(j.Connections, connectionJSON{ServerID: k.ServerID, Address: k.Address, Identity: k.Identity,
			Since: rfc3339(k.Since), ActiveAt: rfc3339(k.ActiveAt), BytesRead: k.BytesRead, BytesWritten: k.BytesWritten})
	}
	return j
}
