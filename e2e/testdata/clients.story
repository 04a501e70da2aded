# A day with the stock clients, python-openstackclient 6.0 and python-novaclient 18.1, told to each node in turn. Beside each command
# stand the fields of its answer, as a real OpenStack (Zed) gave them to the same clients.
#
#   $ a command that succeeds     with the fields of its table below it, or nothing when it prints none
#   ! a command that fails        with words of its error below it
#
# {file} is an image, {out} a file to write, {key} a public key, {node} the name of a node.

$ openstack token issue
    expires, id, project_id, user_id
$ openstack catalog list
    Name, Type, Endpoints
$ openstack versions show --service compute
    Region Name, Service Type, Version, Status, Endpoint, Min Microversion, Max Microversion

# Identity.
$ openstack project create --domain default --description text labproj
    description, domain_id, enabled, id, is_domain, name, options, parent_id, tags
! openstack project create labproj
    Conflict occurred attempting to store project
$ openstack project list
    ID, Name
$ openstack project list --long
    ID, Name, Domain ID, Description, Enabled
$ openstack project show labproj
    description, domain_id, enabled, id, is_domain, name, options, parent_id, tags
$ openstack user create --domain default --project labproj --password labpass --email l@example.org labuser
    default_project_id, domain_id, email, enabled, id, name, options, password_expires_at
$ openstack user list
    ID, Name
$ openstack user list --long
    ID, Name, Project, Domain, Description, Email, Enabled
$ openstack user show labuser
    default_project_id, domain_id, email, enabled, id, name, options, password_expires_at
$ openstack role create labrole
    description, domain_id, id, name, options
$ openstack role list
    ID, Name
$ openstack role add --project labproj --user labuser member
$ openstack role assignment list --names --project labproj
    Role, User, Group, Project, Domain, System, Inherited
$ openstack role remove --project labproj --user labuser member
$ openstack application credential create --role member ac1
    description, expires_at, id, name, project_id, roles, secret, system, unrestricted, user_id
$ openstack application credential list
    ID, Name, Project ID, Description, Expires At
$ openstack application credential show ac1
    description, expires_at, id, name, project_id, roles, system, unrestricted, user_id
$ openstack application credential delete ac1
$ openstack role delete labrole
$ openstack user delete labuser

# Images.
$ openstack image create --public --disk-format raw --container-format bare --file {file} --property os_distro=lab --tag one tiny
    container_format, created_at, disk_format, file, id, min_disk, min_ram, name, owner, properties, protected, schema, status, tags, updated_at, visibility
$ openstack image list
    ID, Name, Status
$ openstack image list --long
    ID, Name, Disk Format, Container Format, Size, Checksum, Status, Visibility, Protected, Project, Tags
$ openstack image set --property os_version=1 --tag two tiny
$ openstack image unset --property os_version tiny
$ openstack image show tiny
    checksum, container_format, created_at, disk_format, file, id, min_disk, min_ram, name, owner, properties, protected, schema, size, status, tags, updated_at, virtual_size, visibility
$ openstack image save --file {out} tiny
$ openstack image set --protected tiny
! openstack image delete tiny
    is protected and cannot be deleted
$ openstack image set --unprotected tiny
! openstack image show no-such-image
    No Image found for no-such-image

# Flavors and key pairs.
$ openstack flavor create --ram 64 --disk 1 --vcpus 1 --property hw:cpu_policy=shared nano
    OS-FLV-DISABLED:disabled, OS-FLV-EXT-DATA:ephemeral, description, disk, id, name, os-flavor-access:is_public, properties, ram, rxtx_factor, swap, vcpus
! openstack flavor create --ram 64 --disk 1 --vcpus 1 nano
    Flavor with name nano already exists
$ openstack flavor list
    ID, Name, RAM, Disk, Ephemeral, VCPUs, Is Public
$ openstack flavor list --all --long
    ID, Name, RAM, Disk, Ephemeral, VCPUs, Is Public, Swap, RXTX Factor, Properties
$ openstack flavor set --property hw:cpu_threads=1 nano
$ openstack flavor unset --property hw:cpu_threads --property hw:cpu_policy nano
$ openstack flavor show nano
    OS-FLV-DISABLED:disabled, OS-FLV-EXT-DATA:ephemeral, access_project_ids, description, disk, id, name, os-flavor-access:is_public, properties, ram, rxtx_factor, swap, vcpus
$ openstack flavor create --private --ram 64 --disk 1 --vcpus 1 private
    OS-FLV-DISABLED:disabled, OS-FLV-EXT-DATA:ephemeral, description, disk, id, name, os-flavor-access:is_public, properties, ram, rxtx_factor, swap, vcpus
$ openstack flavor delete private
! openstack flavor show no-such-flavor
    No Flavor found for no-such-flavor
$ openstack keypair create --public-key {key} labkey
    created_at, fingerprint, id, is_deleted, name, type, user_id
$ openstack keypair list
    Name, Fingerprint, Type
$ openstack keypair show labkey
    created_at, fingerprint, id, is_deleted, name, private_key, type, user_id

# Networks.
$ openstack network create --share --provider-network-type flat --provider-physical-network lan lan
    admin_state_up, availability_zone_hints, availability_zones, created_at, description, dns_domain, id, ipv4_address_scope, ipv6_address_scope, is_default, is_vlan_transparent, mtu, name, port_security_enabled, project_id, provider:network_type, provider:physical_network, provider:segmentation_id, qos_policy_id, revision_number, router:external, segments, shared, status, subnets, tags, updated_at
$ openstack network list
    ID, Name, Subnets
$ openstack network show lan
    admin_state_up, availability_zone_hints, availability_zones, created_at, description, dns_domain, id, ipv4_address_scope, ipv6_address_scope, is_default, is_vlan_transparent, mtu, name, port_security_enabled, project_id, provider:network_type, provider:physical_network, provider:segmentation_id, qos_policy_id, revision_number, router:external, segments, shared, status, subnets, tags, updated_at
! openstack network show nope
    No Network found for nope
$ openstack subnet create --network lan --subnet-range 10.66.0.0/24 --no-dhcp lansub
    allocation_pools, cidr, created_at, description, dns_nameservers, dns_publish_fixed_ip, enable_dhcp, gateway_ip, host_routes, id, ip_version, ipv6_address_mode, ipv6_ra_mode, name, network_id, project_id, revision_number, segment_id, service_types, subnetpool_id, tags, updated_at
$ openstack subnet list
    ID, Name, Network, Subnet
$ openstack subnet show lansub
    allocation_pools, cidr, created_at, description, dns_nameservers, dns_publish_fixed_ip, enable_dhcp, gateway_ip, host_routes, id, ip_version, ipv6_address_mode, ipv6_ra_mode, name, network_id, project_id, revision_number, segment_id, service_types, subnetpool_id, tags, updated_at
$ openstack port create --network lan labport
    admin_state_up, allowed_address_pairs, binding_host_id, binding_profile, binding_vif_details, binding_vif_type, binding_vnic_type, created_at, data_plane_status, description, device_id, device_owner, device_profile, dns_assignment, dns_domain, dns_name, extra_dhcp_opts, fixed_ips, id, ip_allocation, mac_address, name, network_id, numa_affinity_policy, port_security_enabled, project_id, propagate_uplink_status, qos_network_policy_id, qos_policy_id, resource_request, revision_number, security_group_ids, status, tags, trunk_details, updated_at
$ openstack port list
    ID, Name, MAC Address, Fixed IP Addresses, Status
$ openstack port show labport
    admin_state_up, allowed_address_pairs, binding_host_id, binding_profile, binding_vif_details, binding_vif_type, binding_vnic_type, created_at, data_plane_status, description, device_id, device_owner, device_profile, dns_assignment, dns_domain, dns_name, extra_dhcp_opts, fixed_ips, id, ip_allocation, mac_address, name, network_id, numa_affinity_policy, port_security_enabled, project_id, propagate_uplink_status, qos_network_policy_id, qos_policy_id, resource_request, revision_number, security_group_ids, status, tags, trunk_details, updated_at
! openstack network delete lan
    Failed to delete network with name or ID 'lan'
$ openstack port delete labport
$ openstack extension list --network
    Name, Alias, Description

# Servers, at the microversions that the client chooses by itself, and at 2.92.
$ openstack server create --image tiny --flavor nano --network lan --wait tr-wait
    OS-DCF:diskConfig, OS-EXT-AZ:availability_zone, OS-EXT-SRV-ATTR:host, OS-EXT-SRV-ATTR:hypervisor_hostname, OS-EXT-SRV-ATTR:instance_name, OS-EXT-STS:power_state, OS-EXT-STS:task_state, OS-EXT-STS:vm_state, OS-SRV-USG:launched_at, OS-SRV-USG:terminated_at, accessIPv4, accessIPv6, addresses, adminPass, config_drive, created, flavor, hostId, id, image, key_name, name, progress, project_id, properties, security_groups, status, updated, user_id, volumes_attached
$ openstack --os-compute-api-version 2.92 server create --image tiny --flavor nano --network lan --key-name labkey --property role=web --property tier=1 --description text --tag blue tr-full
    OS-DCF:diskConfig, OS-EXT-AZ:availability_zone, OS-EXT-SRV-ATTR:host, OS-EXT-SRV-ATTR:hostname, OS-EXT-SRV-ATTR:hypervisor_hostname, OS-EXT-SRV-ATTR:instance_name, OS-EXT-SRV-ATTR:kernel_id, OS-EXT-SRV-ATTR:launch_index, OS-EXT-SRV-ATTR:ramdisk_id, OS-EXT-SRV-ATTR:reservation_id, OS-EXT-SRV-ATTR:root_device_name, OS-EXT-SRV-ATTR:user_data, OS-EXT-STS:power_state, OS-EXT-STS:task_state, OS-EXT-STS:vm_state, OS-SRV-USG:launched_at, OS-SRV-USG:terminated_at, accessIPv4, accessIPv6, addresses, adminPass, config_drive, created, description, flavor, hostId, host_status, id, image, key_name, locked, locked_reason, name, progress, project_id, properties, security_groups, server_groups, status, tags, trusted_image_certificates, updated, user_id, volumes_attached
$ openstack --os-compute-api-version 2.92 server create --image tiny --flavor nano --nic none --wait tr-none
    OS-DCF:diskConfig, OS-EXT-AZ:availability_zone, OS-EXT-SRV-ATTR:host, OS-EXT-SRV-ATTR:hostname, OS-EXT-SRV-ATTR:hypervisor_hostname, OS-EXT-SRV-ATTR:instance_name, OS-EXT-SRV-ATTR:kernel_id, OS-EXT-SRV-ATTR:launch_index, OS-EXT-SRV-ATTR:ramdisk_id, OS-EXT-SRV-ATTR:reservation_id, OS-EXT-SRV-ATTR:root_device_name, OS-EXT-SRV-ATTR:user_data, OS-EXT-STS:power_state, OS-EXT-STS:task_state, OS-EXT-STS:vm_state, OS-SRV-USG:launched_at, OS-SRV-USG:terminated_at, accessIPv4, accessIPv6, addresses, adminPass, config_drive, created, description, flavor, hostId, host_status, id, image, key_name, locked, locked_reason, name, progress, project_id, properties, security_groups, server_groups, status, tags, trusted_image_certificates, updated, user_id, volumes_attached
$ openstack server list
    ID, Name, Status, Networks, Image, Flavor
$ openstack server list --long
    ID, Name, Status, Task State, Power State, Networks, Image Name, Image ID, Flavor Name, Flavor ID, Availability Zone, Host, Properties
$ openstack --os-compute-api-version 2.92 server list --long
    ID, Name, Status, Task State, Power State, Networks, Image Name, Image ID, Flavor, Availability Zone, Host, Properties, Host Status
$ openstack server show tr-full
    OS-DCF:diskConfig, OS-EXT-AZ:availability_zone, OS-EXT-SRV-ATTR:host, OS-EXT-SRV-ATTR:hypervisor_hostname, OS-EXT-SRV-ATTR:instance_name, OS-EXT-STS:power_state, OS-EXT-STS:task_state, OS-EXT-STS:vm_state, OS-SRV-USG:launched_at, OS-SRV-USG:terminated_at, accessIPv4, accessIPv6, addresses, config_drive, created, flavor, hostId, id, image, key_name, name, progress, project_id, properties, security_groups, status, updated, user_id, volumes_attached
$ openstack --os-compute-api-version 2.92 server show tr-full
    OS-DCF:diskConfig, OS-EXT-AZ:availability_zone, OS-EXT-SRV-ATTR:host, OS-EXT-SRV-ATTR:hostname, OS-EXT-SRV-ATTR:hypervisor_hostname, OS-EXT-SRV-ATTR:instance_name, OS-EXT-SRV-ATTR:kernel_id, OS-EXT-SRV-ATTR:launch_index, OS-EXT-SRV-ATTR:ramdisk_id, OS-EXT-SRV-ATTR:reservation_id, OS-EXT-SRV-ATTR:root_device_name, OS-EXT-SRV-ATTR:user_data, OS-EXT-STS:power_state, OS-EXT-STS:task_state, OS-EXT-STS:vm_state, OS-SRV-USG:launched_at, OS-SRV-USG:terminated_at, accessIPv4, accessIPv6, addresses, config_drive, created, description, flavor, hostId, host_status, id, image, key_name, locked, locked_reason, name, progress, project_id, properties, security_groups, server_groups, status, tags, trusted_image_certificates, updated, user_id, volumes_attached
$ openstack server set --property role=db --name tr-renamed tr-full
$ openstack server unset --property tier tr-renamed
! openstack server show tr-full
    No server with a name or ID of 'tr-full' exists.
$ openstack console log show tr-wait
$ openstack server event list tr-wait
    Request ID, Server ID, Action, Start Time
$ openstack --os-compute-api-version 2.92 server event list --long tr-wait
    Request ID, Server ID, Action, Start Time, Message, Project ID, User ID
! openstack server create --image tiny --flavor no-such-flavor --network lan x
    No flavor with a name or ID of 'no-such-flavor' exists.

# Administration.
$ openstack hypervisor list
    ID, Hypervisor Hostname, Hypervisor Type, Host IP, State
$ openstack hypervisor show {node}
    aggregates, cpu_info, current_workload, disk_available_least, free_disk_gb, free_ram_mb, host_ip, hypervisor_hostname, hypervisor_type, hypervisor_version, id, local_gb, local_gb_used, memory_mb, memory_mb_used, running_vms, service_host, service_id, state, status, vcpus, vcpus_used
$ openstack hypervisor stats show
    count, current_workload, disk_available_least, free_disk_gb, free_ram_mb, local_gb, local_gb_used, memory_mb, memory_mb_used, running_vms, vcpus, vcpus_used
$ openstack compute service list
    ID, Binary, Host, Zone, Status, State, Updated At
$ openstack compute service set --disable --disable-reason maintenance {node} nova-compute
$ openstack --os-compute-api-version 2.92 compute service list --long
    ID, Binary, Host, Zone, Status, State, Updated At, Disabled Reason, Forced Down
$ openstack compute service set --enable {node} nova-compute
$ openstack availability zone list --compute
    Zone Name, Zone Status
$ openstack availability zone list --compute --long
    Zone Name, Zone Status, Zone Resource, Host Name, Service Name, Service Status
$ openstack limits show --absolute
    Name, Value
$ openstack quota set --instances 12 --volumes 5 --ports 44 labproj
$ openstack quota show labproj
    backup-gigabytes, backups, cores, fixed-ips, floating-ips, gigabytes, gigabytes_local, gigabytes_local-encrypted, gigabytes_local-multiattach, gigabytes_shared, gigabytes_shared-encrypted, gigabytes_shared-multiattach, groups, injected-file-size, injected-files, injected-path-size, instances, key-pairs, location, networks, per-volume-gigabytes, ports, project, project_name, properties, ram, rbac_policies, routers, secgroup-rules, secgroups, server-group-members, server-groups, snapshots, snapshots_local, snapshots_local-encrypted, snapshots_local-multiattach, snapshots_shared, snapshots_shared-encrypted, snapshots_shared-multiattach, subnet_pools, subnets, volumes, volumes_local, volumes_local-encrypted, volumes_local-multiattach, volumes_shared, volumes_shared-encrypted, volumes_shared-multiattach
$ openstack usage list
    Project, Servers, RAM MB-Hours, CPU Hours, Disk GB-Hours

# The other client.
$ nova list
    ID, Name, Status, Task State, Power State, Networks
$ nova boot --image tiny --flavor nano --nic none tr-nova
    OS-DCF:diskConfig, OS-EXT-AZ:availability_zone, OS-EXT-SRV-ATTR:host, OS-EXT-SRV-ATTR:hostname, OS-EXT-SRV-ATTR:hypervisor_hostname, OS-EXT-SRV-ATTR:instance_name, OS-EXT-SRV-ATTR:kernel_id, OS-EXT-SRV-ATTR:launch_index, OS-EXT-SRV-ATTR:ramdisk_id, OS-EXT-SRV-ATTR:reservation_id, OS-EXT-SRV-ATTR:root_device_name, OS-EXT-STS:power_state, OS-EXT-STS:task_state, OS-EXT-STS:vm_state, OS-SRV-USG:launched_at, OS-SRV-USG:terminated_at, accessIPv4, accessIPv6, adminPass, config_drive, created, description, flavor:disk, flavor:ephemeral, flavor:extra_specs, flavor:original_name, flavor:ram, flavor:swap, flavor:vcpus, hostId, host_status, id, image, key_name, locked, locked_reason, metadata, name, os-extended-volumes:volumes_attached, progress, security_groups, server_groups, status, tags, tenant_id, trusted_image_certificates, updated, user_id
$ nova show tr-renamed
    OS-DCF:diskConfig, OS-EXT-AZ:availability_zone, OS-EXT-SRV-ATTR:host, OS-EXT-SRV-ATTR:hostname, OS-EXT-SRV-ATTR:hypervisor_hostname, OS-EXT-SRV-ATTR:instance_name, OS-EXT-SRV-ATTR:kernel_id, OS-EXT-SRV-ATTR:launch_index, OS-EXT-SRV-ATTR:ramdisk_id, OS-EXT-SRV-ATTR:reservation_id, OS-EXT-SRV-ATTR:root_device_name, OS-EXT-STS:power_state, OS-EXT-STS:task_state, OS-EXT-STS:vm_state, OS-SRV-USG:launched_at, OS-SRV-USG:terminated_at, accessIPv4, accessIPv6, config_drive, created, description, flavor:disk, flavor:ephemeral, flavor:extra_specs, flavor:original_name, flavor:ram, flavor:swap, flavor:vcpus, hostId, host_status, id, image, key_name, lan network, locked, locked_reason, metadata, name, os-extended-volumes:volumes_attached, progress, security_groups, server_groups, status, tags, tenant_id, trusted_image_certificates, updated, user_id
$ nova console-log tr-wait
$ nova instance-action-list tr-wait
    Action, Request_ID, Message, Start_Time, Updated_At
$ nova service-list
    Id, Binary, Host, Zone, Status, State, Updated_at, Disabled Reason, Forced down
$ nova hypervisor-list
    ID, Hypervisor hostname, State, Status
$ nova flavor-list
    ID, Name, Memory_MiB, Disk, Ephemeral, Swap, VCPUs, RXTX_Factor, Is_Public, Description
$ nova usage
    Servers, RAM MiB-Hours, CPU Hours, Disk GiB-Hours
$ nova delete tr-nova

# And everything goes away again.
$ openstack server delete --wait tr-wait tr-renamed tr-none
$ openstack keypair delete labkey
$ openstack subnet delete lansub
$ openstack network delete lan
$ openstack flavor delete nano
$ openstack image delete tiny
$ openstack project delete labproj
! openstack server show tr-wait
    No server with a name or ID of 'tr-wait' exists.
