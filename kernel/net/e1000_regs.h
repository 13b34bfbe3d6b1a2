// Registers and descriptors of the Intel 82540EM ("e1000"), as far as we use them.
//
// "SDM" in this folder is Intel's PCI/PCI-X Family of Gigabit Ethernet Controllers
// Software Developer's Manual.  Registers are cited by name.  Offsets are bytes from
// the start of BAR 0; bits carry their register's name and follow it.
#ifndef E1000_REGS_H
#define E1000_REGS_H

#include "uapi/types.h"

#define E1000_CTRL       0x0000     // device control
#define CTRL_SLU         0x00000040 // set link up
#define E1000_STATUS     0x0008     // device status
#define STATUS_LU        0x00000002 // link is up
#define STATUS_SPEED     0x000000c0 // 0: 10, 40: 100, else 1000 Mbit/s
#define STATUS_SPEED_100 0x00000040
#define E1000_EERD       0x0014     // EEPROM read
#define EERD_START       0x00000001 //
#define EERD_DONE        0x00000010 //
#define E1000_ICR        0x00c0     // interrupt causes; reading clears them
#define E1000_IMS        0x00d0     // set bits of the interrupt mask
#define E1000_IMC        0x00d8     // clear bits of it
#define E1000_RCTL       0x0100     // receive control
#define RCTL_EN          0x00000002 // receiver on
#define RCTL_BAM         0x00008000 // accept broadcasts
#define RCTL_SECRC       0x04000000 // strip the FCS; buffers of 2048 bytes are BSIZE 0
#define E1000_TCTL       0x0400     // transmit control
#define TCTL_EN          0x00000002 // transmitter on
#define TCTL_PSP         0x00000008 // pad short packets
#define TCTL_CT          0x00000100 // collision threshold 16, in bits 11:4
#define TCTL_COLD        0x00040000 // collision distance 64 bytes, in bits 21:12
#define E1000_TIPG       0x0410     // inter-packet gap
#define TIPG_DEFAULT     0x00602006 // SDM, register TIPG: 6, 8 << 10, 6 << 20
#define E1000_RDBAL      0x2800     // receive ring: physical address,
#define E1000_RDBAH      0x2804     // its high word,
#define E1000_RDLEN      0x2808     // bytes, a multiple of 128,
#define E1000_RDH        0x2810     // head: the card's next descriptor,
#define E1000_RDT        0x2818     // tail: the first one that is not the card's
#define E1000_TDBAL      0x3800     // transmit ring, likewise
#define E1000_TDBAH      0x3804     //
#define E1000_TDLEN      0x3808     //
#define E1000_TDH        0x3810     //
#define E1000_TDT        0x3818     //
#define E1000_CRCERRS    0x4000     // statistics: CRC errors
#define E1000_MPC        0x4010     // missed packets
#define E1000_RLEC       0x4040     // length errors
#define E1000_GPRC       0x4074     // good packets received
#define E1000_GPTC       0x4080     // good packets transmitted
#define E1000_RNBC       0x40a0     // receive no buffers
#define E1000_MTA        0x5200     // multicast table, 128 words
#define E1000_RAL        0x5400     // our MAC, bytes 0-3,
#define E1000_RAH        0x5404     // bytes 4-5,
#define RAH_AV           0x80000000 // which is valid

// Interrupt causes, in ICR, IMS and IMC alike.
#define ICR_TXDW   0x00000001 // transmit descriptor written back
#define ICR_LSC    0x00000004 // link status changed
#define ICR_RXDMT0 0x00000010 // receive descriptors below the threshold
#define ICR_RXO    0x00000040 // receiver overrun
#define ICR_RXT0   0x00000080 // frame received

struct rx_desc {
  u64 addr;    // physical, of a 2048-byte buffer
  u16 len;     // bytes written, without FCS (RCTL_SECRC)
  u16 csum;    //
  u8 status;   // RXD_...
  u8 errors;   // 0 = none
  u16 special; //
} __attribute__((packed));
_Static_assert(sizeof(struct rx_desc) == 16, "legacy descriptor");

#define RXD_DD  0x01 // done: the descriptor is ours
#define RXD_EOP 0x02 // last descriptor of its frame

struct tx_desc {
  u64 addr;
  u16 len;
  u8 cso;
  u8 cmd;    // TXD_...
  u8 status; // TXD_DD
  u8 css;
  u16 special;
} __attribute__((packed));
_Static_assert(sizeof(struct tx_desc) == 16, "legacy descriptor");

#define TXD_EOP  0x01 // cmd: last descriptor of its frame
#define TXD_IFCS 0x02 // cmd: append the FCS
#define TXD_RS   0x08 // cmd: report status, that is set TXD_DD
#define TXD_DD   0x01 // status: done

#endif
