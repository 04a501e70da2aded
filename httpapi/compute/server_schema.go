package compute

import (
	"encoding/json"
	"math"
	"regexp"

	"github.com/kilonova/kilonova/httpapi/schema"
)

const (
	maxUserData  = 65535 // characters of base64
	maxTags      = 50
	maxTagLength = 60
	maxNICs      = 64
)

// createBody is POST /servers.
type createBody struct {
	Server   createServer               `json:"server"`
	Hints    map[string]json.RawMessage `json:"os:scheduler_hints"`
	OldHints map[string]json.RawMessage `json:"OS-SCH-HNT:scheduler_hints"`
}

type createServer struct {
	createWhat
	createWhere
	createHow
}

// createWhat is what a new server is.
type createWhat struct {
	Name         string            `json:"name"`
	Description  string            `json:"description"`
	Hostname     string            `json:"hostname"`
	Image        string            `json:"imageRef"`
	Flavor       flexText          `json:"flavorRef"`
	KeyName      string            `json:"key_name"`
	UserData     string            `json:"user_data"`
	Metadata     map[string]string `json:"metadata"`
	Tags         []string          `json:"tags"`
	AdminPass    *string           `json:"adminPass"`
	Networks     json.RawMessage   `json:"networks"`
	Devices      []blockDevice     `json:"block_device_mapping_v2"`
	OldDevices   []json.RawMessage `json:"block_device_mapping"`
	Personality  []json.RawMessage `json:"personality"`
	Certificates []string          `json:"trusted_image_certificates"`
}

// createWhere is where a new server goes.
type createWhere struct {
	Zone       string `json:"availability_zone"`
	Host       string `json:"host"`
	Hypervisor string `json:"hypervisor_hostname"`
}

// createHow is how a new server is made.
type createHow struct {
	Min         *flexInt `json:"min_count"`
	Max         *flexInt `json:"max_count"`
	Reservation flexBool `json:"return_reservation_id"`
	ConfigDrive flexBool `json:"config_drive"`
	DiskConfig  string   `json:"OS-DCF:diskConfig"`
	AccessIPv4  string   `json:"accessIPv4"`
	AccessIPv6  string   `json:"accessIPv6"`
	Groups      []struct {
		Name string `json:"name"`
	} `json:"security_groups"`
}

// nicRequest is one of the networks of a new server.
type nicRequest struct {
	Network string `json:"uuid"`
	Port    string `json:"port"`
	FixedIP string `json:"fixed_ip"`
}

var (
	schemaTag  = &schema.Schema{Types: []string{"string"}, MinLength: 1, MaxLength: maxTagLength, Pattern: regexp.MustCompile(`^[^,/]*$`)}
	schemaTags = &schema.Schema{Types: []string{"array"}, Array: &schema.List{Items: schemaTag, Max: maxTags, Unique: true}}

	schemaZone = schema.Text(1, 255).OrNull()

	hostnames     = regexp.MustCompile(`^[a-zA-Z0-9]+[a-zA-Z0-9-]*[a-zA-Z0-9]+$`)
	fullHostnames = regexp.MustCompile(`^[a-zA-Z0-9]+[a-zA-Z0-9.-]*[a-zA-Z0-9]+$`)
)

// createSchema is what POST /servers takes at a microversion.
func createSchema(v version) *schema.Schema {
	known := map[string]*schema.Schema{
		"name":                    schemaName,
		"imageRef":                schema.Text(0, 0).Formatted(formatImage),
		"flavorRef":               {Types: []string{"string", "integer"}, MinLength: 1, MaxLength: 255},
		"key_name":                schema.Text(1, 255).OrNull(),
		"user_data":               schema.Text(0, maxUserData).OrNull().Formatted(formatBase64),
		"metadata":                schemaMetadata,
		"adminPass":               schema.Text(0, 255),
		"networks":                networksSchema(v),
		"block_device_mapping_v2": blockDevicesSchema(),
		"block_device_mapping":    schema.ArrayOf(schema.Loose(nil), 255),
		"availability_zone":       schemaZone,
		"min_count":               schemaCount,
		"max_count":               schemaCount,
		"return_reservation_id":   schema.Boolean(),
		"config_drive":            {AnyOf: []*schema.Schema{schema.Boolean(), schema.OneOf(nil, "")}},
		"OS-DCF:diskConfig":       schemaDiskConfig,
		"accessIPv4":              schema.Text(0, 0).Formatted(formatIPv4),
		"accessIPv6":              schema.Text(0, 0).Formatted(formatIPv6),
		"security_groups": schema.ArrayOf(schema.Loose(map[string]*schema.Schema{
			"name": schema.Text(1, 255)}), 64),
	}
	addVersioned(known, v)
	required := []string{"name", "flavorRef"}
	if v >= 37 {
		required = append(required, "networks")
	}
	return schema.Record(map[string]*schema.Schema{
		"server":                     schema.Record(known, required...),
		"os:scheduler_hints":         schemaHints,
		"OS-SCH-HNT:scheduler_hints": schemaHints,
	}, "server")
}

// addVersioned adds what microversions added to POST /servers.
func addVersioned(known map[string]*schema.Schema, v version) {
	if v < 57 {
		known["personality"] = schema.ArrayOf(schema.Loose(nil), 64)
	}
	if v >= 19 {
		known["description"] = schemaDescription
	}
	if v >= 52 {
		known["tags"] = schemaTags
	}
	if v >= 63 {
		known["trusted_image_certificates"] = schema.ArrayOf(schema.Text(1, 0), maxTags).OrNull()
	}
	if v >= 74 {
		known["host"] = schema.Text(1, 255)
		known["hypervisor_hostname"] = schema.Text(1, 255)
	}
	if v >= 90 {
		known["hostname"] = hostnameSchema(v)
	}
}

func hostnameSchema(v version) *schema.Schema {
	if v >= 94 {
		return &schema.Schema{Types: []string{"string"}, MinLength: 2, MaxLength: 255, Pattern: fullHostnames}
	}
	return &schema.Schema{Types: []string{"string"}, MinLength: 2, MaxLength: 63, Pattern: hostnames}
}

func networksSchema(v version) *schema.Schema {
	nic := map[string]*schema.Schema{
		"uuid":     schemaUUID,
		"port":     schema.Text(0, 0).OrNull().Formatted(formatUUID),
		"fixed_ip": schema.Text(0, 0).Formatted(formatIP),
	}
	if v == 32 || v >= 42 {
		nic["tag"] = schemaTag
	}
	list := schema.ArrayOf(schema.Record(nic), maxNICs)
	if v < 37 {
		return list
	}
	return &schema.Schema{AnyOf: []*schema.Schema{list, {Types: []string{"string"}, Enum: []any{"none", "auto"}}}}
}

// updateSchema is what PUT /servers/{id} takes at a microversion.
func updateSchema(v version) *schema.Schema {
	known := map[string]*schema.Schema{
		"name":              schemaName,
		"OS-DCF:diskConfig": schemaDiskConfig,
		"accessIPv4":        schema.Text(0, 0).Formatted(formatIPv4),
		"accessIPv6":        schema.Text(0, 0).Formatted(formatIPv6),
	}
	if v >= 19 {
		known["description"] = schemaDescription
	}
	if v >= 90 {
		known["hostname"] = hostnameSchema(v)
	}
	return schema.Wrap("server", schema.Record(known))
}

// consoleSchema is what os-getConsoleOutput takes.
var consoleSchema = &schema.Schema{Types: []string{"object", "null"}, Object: &schema.Members{Known: map[string]*schema.Schema{
	"length": schema.Int(-1, math.MaxInt32).OrNull()}}}
